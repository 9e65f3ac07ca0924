"""How long greenlets keep the gevent hub from serving the others."""

from __future__ import annotations

import os
import time
from types import FrameType
from typing import Any

# How old the last look at the scheduler's figures may be; looking at every switch would cost a third of the CPU.
_MARK_SECONDS = 0.02


class HubMonitor:
    """Measures every stretch between two greenlet switches on the hub's thread and keeps the longest, in ms.

    A stretch counts by the clock, less the time in which the thread could have run and the kernel ran others: so a
    busy machine is not taken for a blocked hub, and a blocking system call is.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        self._by = ""
        self._began = self._marked = 0.0
        self._queued = 0.0
        self._scheduler: int | None = None

    def start(self) -> None:
        """Begin measuring the calling thread."""
        import greenlet

        try:
            self._scheduler = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._scheduler = None  # the kernel does not tell, so all that the clock shows counts
        self._mark(time.perf_counter())
        self._began = self._marked
        greenlet.settrace(self._switched)

    def longest(self) -> tuple[float, str]:
        """The longest stretch so far in milliseconds, and the function that was left at its end."""
        return 1000 * self._longest, self._by

    def _mark(self, now: float) -> None:
        self._marked = now
        self._queued = self._queued_seconds()

    def _switched(self, event: str, ends: tuple[Any, Any]) -> None:
        now = time.perf_counter()
        stretch = now - self._began
        if stretch > self._longest:
            self._consider(stretch, ends[0])
            now = time.perf_counter()
        if now - self._marked > _MARK_SECONDS:
            self._mark(now)
        self._began = now

    def _consider(self, stretch: float, left: Any) -> None:
        import gevent.hub

        # The hub itself waits in its event loop whenever there is nothing to do: that is no stall.
        if isinstance(left, gevent.hub.Hub):
            return
        if stretch > _MARK_SECONDS:
            stretch -= self._queued_seconds() - self._queued
        if stretch > self._longest:
            self._longest, self._by = stretch, _place(left.gr_frame)

    def _queued_seconds(self) -> float:
        """How long this thread has waited for a processor so far."""
        if self._scheduler is None:
            return 0.0
        # The second figure, in nanoseconds: https://docs.kernel.org/scheduler/sched-stats.html
        return int(os.pread(self._scheduler, 100, 0).split()[1]) / 1e9


def _place(frame: FrameType | None) -> str:
    places: list[str] = []
    while frame is not None and len(places) < 6:
        places.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(places)
