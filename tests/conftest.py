"""What every test may lean on."""

from __future__ import annotations

import sys
from pathlib import Path

# The scripted LLM server, its corpus and the integration tests' deployment are imported by name.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "integration")]

# Takes what it needs out of the environment before anything of FileIntel's reads that.
import external  # noqa: E402, F401
