"""The limiter on servers of unknown best concurrency: see benchmarks/limiter.py, which does the measuring."""

from __future__ import annotations

from typing import Any

from benchmarks.profiles import Profile


def measure(_profile: Profile) -> dict[str, Any]:
    """Return what benchmarks.limiter measures; its key is `limiter_worst_fraction`."""
    from benchmarks import limiter

    return dict(limiter.measure())
