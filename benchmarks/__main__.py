"""All benchmarks, one after the other; each prints JSON under its own command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    ("client_cost.py",),
    ("client_cost.py", "--limiter"),
    ("report_generation.py",),
    ("report_generation.py", "--latency", "3.5"),
)


def main() -> int:
    failed = 0
    for name, *options in BENCHMARKS:
        print(f"\n$ python benchmarks/{' '.join([name, *options])}", flush=True)
        failed |= subprocess.run([sys.executable, str(HERE / name), *options], check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
