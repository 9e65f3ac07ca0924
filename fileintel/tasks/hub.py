"""How long greenlets keep the gevent hub from serving the others."""

from __future__ import annotations

import resource
import time
from types import FrameType
from typing import Any


class HubMonitor:
    """Measures every stretch between two greenlet switches on the hub's thread and keeps the longest, in ms.

    A stretch counts by the thread's CPU time, so that a busy machine is not taken for a blocked hub; when the thread
    gave up the processor by itself in it (a blocking system call) it counts by the clock.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        self._by = ""
        self._wall = self._cpu = 0.0
        self._waits = 0

    def start(self) -> None:
        """Begin measuring the calling thread."""
        import greenlet

        self._mark()
        greenlet.settrace(self._switched)

    def longest(self) -> tuple[float, str]:
        """The longest stretch so far in milliseconds, and the function that was left at its end."""
        return self._longest, self._by

    def reset(self) -> None:
        """Forget the longest stretch."""
        self._longest, self._by = 0.0, ""

    def _mark(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.thread_time()

    def _switched(self, event: str, ends: tuple[Any, Any]) -> None:
        import gevent.hub

        left = ends[0]
        wall, cpu = time.perf_counter() - self._wall, time.thread_time() - self._cpu
        waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if wall > 0.02 else self._waits
        # The hub itself waits in its event loop whenever there is nothing to do: that is no stall.
        if not isinstance(left, gevent.hub.Hub):
            stretch = 1000 * (wall if wall > 0.02 and waits > self._waits else cpu)
            if stretch > self._longest:
                self._longest, self._by = stretch, _place(left.gr_frame)
        self._waits = waits
        self._mark()


def _place(frame: FrameType | None) -> str:
    places: list[str] = []
    while frame is not None and len(places) < 6:
        places.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(places)
