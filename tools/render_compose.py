"""Writes docs/compose.yaml, the same text as `nix build .#compose`: `python tools/render_compose.py [--check]`.

It needs `nix-instantiate` and nothing else of Nix: the text is evaluated with builtins alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

OUTPUT = Path("docs/compose.yaml")


def render(root: Path) -> str:
    """The text of compose.yaml."""
    done = subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "-E", f"(import {root}/nix/compose.nix {{ }}).text"],
        check=True,
        # Nothing is built: with no store, Nix needs neither root nor a daemon.
        env={"NIX_REMOTE": "dummy://", **os.environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    return str(json.loads(done.stdout))


def main() -> int:
    """Write the file, or with --check say that it is stale and return 1 if it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file is stale")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    options = parser.parse_args()
    path, text = options.root / OUTPUT, render(options.root.absolute())
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print(f"{OUTPUT} is stale: run python tools/render_compose.py", file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
