"""What every test may lean on."""

from __future__ import annotations

import sys
from pathlib import Path

# The scripted LLM server and its corpus are imported by name.
sys.path.insert(0, str(Path(__file__).parent))
