"""`python -m benchmarks`: all parts one after the other, each in a process of its own; `--profile quick` is short.

Prints how far it is to stderr, then the tables and, as the last line of stdout, one JSON object with the figures.
Writes benchmarks/results/NAME.json and NAME.svg, NAME being the profile, and the parts if only some were asked for.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import HERE, ROOT, VENV_PYTHON, BenchmarkError
from benchmarks.figures import figures
from benchmarks.profiles import PARTS, PROFILES, Profile
from benchmarks.tables import markdown

# A part that takes longer than this has hung.
_LONGEST_PART_SECONDS = 3600.0


def main() -> int:
    """Measure, print, write; exits with 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=tuple(PROFILES), default="full")
    parser.add_argument("--only", default="", help=f"parts, comma separated, of {', '.join(PARTS)}")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder to write to")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    profile = PROFILES[given.profile]
    if given.part:
        return _measure_here(given.part, profile)
    if not VENV_PYTHON.exists():
        parser.error("benchmarks/.venv is not there: run `make bench` or `make bench-quick`, which make it")
    chosen = tuple(filter(None, given.only.split(","))) or profile.parts
    unknown = set(chosen) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    name = profile.name if chosen == profile.parts else f"{profile.name}-{'-'.join(chosen)}"
    raw: dict[str, Any] = {"machine": machine(), "profile": profile.name, "seconds": {}}
    failed = []
    for part in chosen:
        start = time.monotonic()
        print(f"{part} ...", file=sys.stderr, flush=True)
        try:
            raw[part] = _measure(part, profile)
        except BenchmarkError as error:
            failed.append(part)
            print(f"{part} FAILED: {error}", file=sys.stderr, flush=True)
        raw["seconds"][part] = round(time.monotonic() - start, 1)
        print(f"{part}: {raw['seconds'][part]:.0f} s", file=sys.stderr, flush=True)
    raw["figures"] = figures(raw)
    _write(raw, given.results, name)
    print(markdown(raw))
    print(json.dumps(raw["figures"]), flush=True)
    return 1 if failed else 0


def machine() -> dict[str, Any]:
    """What it is measured on, and what is measured."""
    revision = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "revision": revision.stdout.strip(),
        "load_before": os.getloadavg()[0],
    }


def _measure_here(part: str, profile: Profile) -> int:
    """Measure one part in this process and print what it found."""
    module = importlib.import_module(f"benchmarks.parts.{part}")
    try:
        found = module.measure(profile)
    except (BenchmarkError, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


def _measure(part: str, profile: Profile) -> dict[str, Any]:
    """Measure one part in a process of its own, whose broker and database no other part has known."""
    command = [sys.executable, "-m", "benchmarks", "--profile", profile.name, "--part", part]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, start_new_session=True)
        try:
            process.wait(_LONGEST_PART_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"it was not done within {_LONGEST_PART_SECONDS:.0f} s") from None
        finally:
            # However it ended, the servers and workers it started end too.
            _end_group(process)
        output.seek(0)
        lines = output.read().decode().strip().splitlines()
    if process.returncode != 0 or not lines:
        raise BenchmarkError(f"exit code {process.returncode}")
    return dict(json.loads(lines[-1]))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _write(raw: dict[str, Any], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"{name}.json"
    results.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    drawn = subprocess.run([str(VENV_PYTHON), str(HERE / "plot.py"), str(results)], check=False)
    if drawn.returncode == 0:
        print(f"written: {results} and its plot", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
