"""What tests ask of processes that are not their children, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def gone(pid: int) -> bool:
    """Whether it has ended; a zombie has: not every first process of a container reaps."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between the opening and the reading
        return True


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask until the answer is yes; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
