"""Writes nix/debian-images.json, the configs of Debian-made images: `python tools/render_debian_images.py [--check]`.

It needs `nix-instantiate` and nothing else of Nix: nix/debian-images.nix is evaluated with builtins alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "nix" / "debian-images.json"


def render() -> str:
    """The text of the file."""
    done = subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", str(ROOT / "nix" / "debian-images.nix")],
        check=True,
        # Nothing is built: with no store, Nix needs neither root nor a daemon.
        env={"NIX_REMOTE": "dummy://", **os.environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.dumps(json.loads(done.stdout), indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with --check say that it is stale and return 1 if it is."""
    text = render()
    if OUTPUT.is_file() and OUTPUT.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print("nix/debian-images.json is stale: run python tools/render_debian_images.py", file=sys.stderr)
        return 1
    OUTPUT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
