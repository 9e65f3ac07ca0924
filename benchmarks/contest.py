"""Runs a contestant's program in the contestants' environment and takes down what it and the LLM server report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import HERE, VENV_PYTHON, BenchmarkError
from benchmarks.corpora import Corpus, graph_tables
from benchmarks.ours import scripted

COMPETITORS = HERE / "competitors"


def compete(
    program: str,
    corpus: Corpus,
    *,
    options: Sequence[str] = (),
    latency: float,
    timeout: float,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run a program of benchmarks/competitors on a corpus and a fresh server; the program checks its own graph.

    `program` is its file name, with the words that come before the folder (`stock.py reports`). Raises BenchmarkError
    if it fails, did not extract every text unit, or takes longer than `timeout` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="fileintel-contest-") as name, scripted(latency=latency) as llm:
        folder = Path(name)
        corpus.write(folder)
        (folder / "graph.json").write_text(json.dumps(graph_tables(corpus)), encoding="utf-8")
        llm.prepare(corpus.units)
        llm.reset()
        server_cpu = llm.stats()["cpu_seconds"]
        words = program.split()
        command = [str(VENV_PYTHON), str(COMPETITORS / words[0]), *words[1:], str(folder), llm.base_url, *options]
        made = _last_json(command, folder, timeout, environment or {})
        stats = llm.stats()
    kinds = stats["kinds"]
    made["calls"] = {kind: tally["count"] for kind, tally in kinds.items()}
    made["chat_calls"] = sum(count for kind, count in made["calls"].items() if kind != "embedding")
    chat = [tally for kind, tally in kinds.items() if kind != "embedding"]
    made["peak_in_flight"] = max(tally["peak"] for tally in chat)
    made["mean_in_flight"] = stats["mean_in_flight"]
    made["server_cpu_seconds"] = stats["cpu_seconds"] - server_cpu
    made["latency"] = latency
    if "extract" in kinds and kinds["extract"]["distinct"] != len(corpus.units):
        raise BenchmarkError(f"{program} extracted {kinds['extract']['distinct']} of {len(corpus.units)} text units")
    return made


def _last_json(command: Sequence[str], folder: Path, timeout: float, environment: dict[str, str]) -> dict[str, Any]:
    # In a process group of its own, so that what it started ends with it.
    with (folder / "errors.log").open("w+b") as errors:
        process = subprocess.Popen(
            command,
            env=_clean() | environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{Path(command[1]).name} was not done within {timeout:.0f} s") from None
        finally:
            _end_group(process)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    lines = out.decode(errors="replace").strip().splitlines()
    if process.returncode != 0 or not lines:
        last = lines[-1][:500] if lines else "nothing"
        raise BenchmarkError(
            f"{Path(command[1]).name} failed (exit code {process.returncode}, said {last}):\n{said[-2000:]}"
        )
    return dict(json.loads(lines[-1]))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(10)


def _clean() -> dict[str, str]:
    """The environment without this environment's own search path and without keys to servers elsewhere."""
    dropped = ("PYTHONPATH", "VIRTUAL_ENV", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY")
    return {name: value for name, value in os.environ.items() if name not in dropped}
