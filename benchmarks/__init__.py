"""FileIntel measured beside stock GraphRAG and LightRAG, on the same corpora and the same LLM server, in one run."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
# The contestants' environment, which `make bench` makes; it also has uvloop and matplotlib.
VENV_PYTHON = HERE / ".venv" / "bin" / "python"

for folder in (ROOT / "tests" / "integration", ROOT / "tests", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


class BenchmarkError(Exception):
    """A measurement that did not come about, or whose contestant did not do the work."""


def say(line: str) -> None:
    """Tell on stderr how far a part is."""
    print(f"  {line}", file=sys.stderr, flush=True)
