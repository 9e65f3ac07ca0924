"""Run the embedded model server by itself: python -m fileintel.llm.embedded --port N."""

from __future__ import annotations

import argparse
import sys

from fileintel.errors import FileIntelError
from fileintel.llm.embedded.server import serve


def main() -> int:
    """Serve until stopped; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fileintel.llm.embedded", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8701)
    parser.add_argument("--processes", type=int, default=None)
    given = parser.parse_args()
    try:
        serve(given.host, given.port, given.processes)
    except FileIntelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
