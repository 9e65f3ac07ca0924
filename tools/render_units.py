"""Write docs/systemd/, the unit files for hosts without NixOS, or check that they are current.

`python tools/render_units.py [--check]`; needs nix-instantiate, and nothing of nixpkgs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "systemd"


def units() -> dict[str, str]:
    """The unit files by name, from nix/systemd.nix at the defaults."""
    command = ["nix-instantiate", "--eval", "--strict", "--json", "-E", f"import {ROOT}/nix/systemd.nix {{ }}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def stale() -> list[str]:
    """Names of files that are missing, old or too many."""
    wanted = units()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("fileintel*")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write or check; 1 if a file is stale."""
    names = stale()
    if "--check" in arguments:
        for name in names:
            print(f"docs/systemd/{name} is stale: run tools/render_units.py", file=sys.stderr)
        return 1 if names else 0
    wanted = units()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
