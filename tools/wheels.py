"""Writes nix/wheels.json: for every locked package the one wheel that Nix takes on each system.

`python tools/wheels.py` from the root of the source tree asks the package index, through uv, for the names, sizes and
hashes of the wheels and their folders; nothing is downloaded. `--check` asks nobody: it compares the file with
requirements.lock, requirements-dev.lock and pyproject.toml. Of the index only folders are named: nix/python.nix knows
the rest.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

PYTHON = (3, 12)
MACHINES = {"x86_64-linux": "x86_64", "aarch64-linux": "aarch64"}
# The newest glibc a wheel may ask for; that of nixpkgs is newer.
GLIBC = 40
OUTPUT = Path("nix/wheels.json")
LOCKS = {"runtime": Path("requirements.lock"), "dev": Path("requirements-dev.lock")}


@dataclass(frozen=True, slots=True)
class Locked:
    """A line of a lock file: `marker` says where it holds, `hashes` (SHA-256, hex) which files it may be."""

    name: str
    version: str
    group: str
    marker: Marker | None
    hashes: frozenset[str]

    def holds_on(self, system: str) -> bool:
        """Whether this package is installed on `system`."""
        return self.marker is None or self.marker.evaluate(environment(system))


def environment(system: str) -> dict[str, str]:
    """The marker environment of the Python that Nix runs on `system`."""
    version = ".".join(map(str, PYTHON))
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": MACHINES[system],
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "linux",
        "extra": "",
    }


def tags(system: str) -> list[Tag]:
    """The wheel tags that run on `system`, the best first."""
    machine = MACHINES[system]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 16, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    if machine == "x86_64":
        platforms += ["manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64"]
    interpreter = f"cp{''.join(map(str, PYTHON))}"
    return [*cpython_tags(PYTHON, platforms=platforms), *compatible_tags(PYTHON, interpreter, platforms)]


def locked(root: Path) -> Iterator[Locked]:
    """Read the lock files; a package that both name belongs to the first."""
    seen: set[tuple[str, str]] = set()
    for group, path in LOCKS.items():
        text = re.sub(r"\\\n", " ", (root / path).read_text(encoding="utf-8"))
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            requirement = Requirement(re.split(r"\s+--hash=", line, maxsplit=1)[0].strip())
            version = next(iter(requirement.specifier)).version
            name = canonicalize_name(requirement.name)
            if (name, version) not in seen:
                seen.add((name, version))
                hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
                yield Locked(name, version, group, requirement.marker, hashes)


def offered(root: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Ask uv which wheels there are, with size and hash, for each (name, version)."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for lock in LOCKS.values():
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "pylock.toml"
            subprocess.run(
                [
                    *("uv", "pip", "compile", "--quiet", "--universal", "--no-deps", "--no-header"),
                    *("--python-version", ".".join(map(str, PYTHON)), "--format", "pylock.toml"),
                    *("--output-file", str(output), str(root / lock)),
                ],
                check=True,
            )
            for package in tomllib.loads(output.read_text(encoding="utf-8"))["packages"]:
                wheels = [described(wheel) for wheel in package.get("wheels", [])]
                found[canonicalize_name(package["name"]), package["version"]] = wheels
    return found


def described(wheel: Mapping[str, Any]) -> dict[str, Any]:
    """What nix/wheels.json says of a wheel; its folder on the index is made of the file's BLAKE2b hash."""
    found = re.search(r"/([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/([^/]+)$", wheel["url"])
    if found is None:
        raise LookupError(f"{wheel['url']} lies in no folder of its hash")
    return {"file": found[2], "folder": found[1], "size": wheel["size"], "sha256": wheel["hashes"]["sha256"]}


def choose(package: Locked, wheels: list[dict[str, Any]], system: str) -> dict[str, Any]:
    """The best of `wheels` for `system`; raises LookupError if there is none, or if the lock has another hash."""
    rank = {tag: place for place, tag in enumerate(tags(system))}
    ranked = []
    for wheel in wheels:
        places = [rank[tag] for tag in parse_wheel_filename(wheel["file"])[3] if tag in rank]
        if places:
            ranked.append((min(places), wheel["file"], wheel))
    if not ranked:
        raise LookupError(f"{package.name} {package.version} has no wheel for {system}")
    best = dict(min(ranked, key=lambda entry: entry[:2])[2])
    if best["sha256"] not in package.hashes:
        raise LookupError(f"{best['file']}: its hash is not in the lock file")
    return best


def render(root: Path) -> str:
    """The text of nix/wheels.json."""
    available = offered(root)
    packages: dict[str, Any] = {}
    for package in locked(root):
        systems = [system for system in MACHINES if package.holds_on(system)]
        if not systems:
            continue
        if package.name in packages:
            raise LookupError(f"{package.name} is locked at two versions for Python {PYTHON[0]}.{PYTHON[1]}")
        chosen = {system: choose(package, available[package.name, package.version], system) for system in systems}
        same = len(systems) == len(MACHINES) and len({wheel["file"] for wheel in chosen.values()}) == 1
        wheels = {"any": chosen[systems[0]]} if same else chosen
        packages[package.name] = {"version": package.version, "group": package.group, "wheels": wheels}
    lines = ["{", f'  "python": "{".".join(map(str, PYTHON))}",', '  "packages": {']
    for name in sorted(packages):
        entry = packages[name]
        lines += [f'    "{name}": {{', f'      "version": "{entry["version"]}",', f'      "group": "{entry["group"]}",']
        wheels = [f'        "{system}": {json.dumps(wheel)}' for system, wheel in entry["wheels"].items()]
        lines += ['      "wheels": {', ",\n".join(wheels), "      }", "    },"]
    lines[-1] = "    }"
    return "\n".join([*lines, "  }", "}"]) + "\n"


def disagreements(root: Path) -> list[str]:
    """Say, one line each, where nix/wheels.json, the lock files and pyproject.toml do not agree."""
    packages = json.loads((root / OUTPUT).read_text(encoding="utf-8"))["packages"]
    found: list[str] = []
    expected: set[str] = set()
    for package in locked(root):
        for system in (system for system in MACHINES if package.holds_on(system)):
            expected.add(package.name)
            entry = packages.get(package.name)
            if entry is None or entry["version"] != package.version or entry["group"] != package.group:
                found.append(f"{package.name} {package.version} ({package.group}) is locked, but not in {OUTPUT}")
                break
            wheel = entry["wheels"].get("any") or entry["wheels"].get(system)
            if wheel is None:
                found.append(f"{package.name}: {OUTPUT} has no wheel for {system}")
                continue
            name, version, _, wheel_tags = parse_wheel_filename(wheel["file"])
            if (name, str(version)) != (package.name, package.version):
                found.append(f"{wheel['file']} is no {package.name} {package.version}")
            if not wheel_tags & set(tags(system)):
                found.append(f"{wheel['file']} does not run on {system}")
            if wheel["sha256"] not in package.hashes:
                found.append(f"{wheel['file']}: its hash is not in the lock file")
            if wheel["size"] <= 0:
                found.append(f"{wheel['file']}: its size is missing")
    found += [f"{name} is in {OUTPUT}, but not locked" for name in packages if name not in expected]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {"runtime": project["project"]["dependencies"], "dev": project["dependency-groups"]["dev"]}
    for group, requirements in wanted.items():
        for text in requirements:
            requirement = Requirement(text)
            entry = packages.get(canonicalize_name(requirement.name))
            if entry is None or (group == "runtime" and entry["group"] != group):
                found.append(f"pyproject.toml asks for {text}, which is not in {OUTPUT}")
            elif not requirement.specifier.contains(entry["version"], prereleases=True):
                found.append(f"pyproject.toml asks for {text}, {OUTPUT} has {entry['version']}")
    return found


def main() -> int:
    """Write the file, or with --check print what disagrees and return 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file is stale")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    options = parser.parse_args()
    if options.check:
        found = disagreements(options.root)
        for line in found:
            print(line, file=sys.stderr)
        return 1 if found else 0
    try:
        text = render(options.root)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    (options.root / OUTPUT).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
