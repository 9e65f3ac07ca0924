"""The process's gate to its model server: as many calls in flight as do it good, questions before index work."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from fileintel.errors import ModelServerError
from fileintel.llm.knee import Call, Knee, Outcome


class Limiter:
    """Admits model calls up to a limit that it learns (see `knee`), at most `ceiling`.

    One per process and server; shared by its threads, or by its greenlets where threading is monkey-patched.
    `clock` counts seconds.
    """

    def __init__(self, ceiling: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._knee = Knee(ceiling)
        self._clock = clock
        self._lock = threading.Lock()
        self._questions: deque[_Waiter] = deque()
        self._index_work: deque[_Waiter] = deque()

    def __repr__(self) -> str:
        return f"Limiter({self._knee.in_flight} of {self._knee.limit} in flight, ceiling {self._knee.ceiling})"

    def slot(self, priority: bool = False) -> Slot:
        """Return a context manager that waits for its turn and learns from how the block ends.

        `priority` is for questions: they go before all index work. An overload or failure of the server
        (ModelServerError) passes through after it was noted.
        """
        return Slot(self, priority)

    @property
    def in_flight(self) -> int:
        """How many calls are in flight now."""
        return self._knee.in_flight

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return self._knee.limit

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._questions) + len(self._index_work)

    @property
    def paused_seconds(self) -> float:
        """For how many seconds from now no call starts because the server asked for it or keeps failing."""
        return max(0.0, self._knee.paused_until - self._clock())

    def _enter(self, priority: bool) -> Call:
        waiter = None
        try:
            with self._lock:
                if not self.waiting and self._knee.may_start(now := self._clock()):
                    return self._knee.start(now)
                waiter = _Waiter()
                (self._questions if priority else self._index_work).append(waiter)
            while True:
                with self._lock:
                    self._admit()
                    if waiter.call is not None:
                        return waiter.call
                    # Only the first in line watches the time; the others are woken by whoever goes before them.
                    timeout = self._knee.next_change(self._clock()) if self._first() is waiter else None
                    waiter.watches = timeout is not None
                waiter.woken.acquire(timeout=-1 if timeout is None else timeout)
        except BaseException:  # the waiting thread or greenlet is being ended: leave the line, give the turn back
            with self._lock:
                self._leave(waiter, priority)
            raise

    def _exit(self, call: Call, outcome: Outcome, retry_after: float | None) -> None:
        with self._lock:
            self._knee.finish(call, self._clock(), outcome, retry_after)
            self._admit()

    def _admit(self) -> None:
        while (first := self._first()) is not None and self._knee.may_start(now := self._clock()):
            (self._questions or self._index_work).popleft()
            first.call = self._knee.start(now)
            first.wake()
        if first is not None and not first.watches and self._knee.next_change(self._clock()) is not None:
            first.watches = True
            first.wake()

    def _first(self) -> _Waiter | None:
        line = self._questions or self._index_work
        return line[0] if line else None

    def _leave(self, waiter: _Waiter | None, priority: bool) -> None:
        if waiter is None:
            return
        if waiter.call is not None:
            self._knee.finish(waiter.call, self._clock(), "neutral")
        else:
            (self._questions if priority else self._index_work).remove(waiter)
        self._admit()


class Slot:
    """One turn at the limiter: `with limiter.slot(): …`."""

    __slots__ = ("_call", "_limiter", "_priority")

    def __init__(self, limiter: Limiter, priority: bool) -> None:
        self._limiter = limiter
        self._priority = priority

    def __enter__(self) -> None:
        self._call = self._limiter._enter(self._priority)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome: Outcome = "answered"
        retry_after = None
        if isinstance(error, ModelServerError):
            outcome = "overloaded" if error.overloaded else "failed"
            retry_after = error.retry_after
        elif error is not None:
            outcome = "neutral"
        self._limiter._exit(self._call, outcome, retry_after)


class _Waiter:
    __slots__ = ("call", "watches", "woken")

    def __init__(self) -> None:
        self.call: Call | None = None
        self.watches = False  # whether it waits with a timeout, or has been woken to
        self.woken = threading.Lock()
        self.woken.acquire()

    def wake(self) -> None:
        if self.woken.locked():
            self.woken.release()
