"""Write docs/options.md, the reference of the NixOS modules' options, or check that it is current.

`FILEINTEL_NIXPKGS=... python tools/render_options.py [--check]`; a nixpkgs, or its lib alone, is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "options.md"


def render(nixpkgs: str) -> str:
    """The text of docs/options.md."""
    command = ["nix-instantiate", "--eval", "--strict", "--json", str(ROOT / "nix" / "options-doc.nix")]
    command += ["--arg", "lib", f"import {nixpkgs}/lib"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return str(json.loads(done.stdout))


def main(arguments: list[str]) -> int:
    """Write or check; 1 if the file is stale, 2 without a nixpkgs."""
    nixpkgs = os.environ.get("FILEINTEL_NIXPKGS", "")
    if not nixpkgs:
        print("FILEINTEL_NIXPKGS names no nixpkgs", file=sys.stderr)
        return 2
    text = render(nixpkgs)
    if OUTPUT.is_file() and OUTPUT.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print("docs/options.md is stale: run tools/render_options.py", file=sys.stderr)
        return 1
    OUTPUT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
