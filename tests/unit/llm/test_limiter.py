"""The limiter's turns among real threads, with a clock that only the test moves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fileintel.errors import ModelRequestError, ModelServerError
from fileintel.llm.limiter import Limiter

ROOT = Path(__file__).parents[3]


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def until(condition: Callable[[], bool]) -> None:
    """Wait for other threads, with a generous end."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the other threads did not get there"
        time.sleep(0.001)


class Worker:
    """A thread that takes a slot and keeps it until told to go."""

    def __init__(
        self, limiter: Limiter, priority: bool = False, order: list[str] | None = None, name: str = ""
    ) -> None:
        self.go = threading.Event()
        self.inside = threading.Event()
        self._work = (limiter, priority, order, name)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        limiter, priority, order, name = self._work
        with limiter.slot(priority=priority):
            if order is not None:
                order.append(name)
            self.inside.set()
            self.go.wait(60)

    def end(self) -> None:
        self.go.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_no_more_than_the_ceiling_are_inside() -> None:
    limiter = Limiter(3, Clock())
    workers = [Worker(limiter) for _ in range(8)]
    until(lambda: limiter.in_flight == 3 and limiter.waiting == 5)
    assert sum(worker.inside.is_set() for worker in workers) <= 3
    for worker in workers:
        worker.go.set()
    for worker in workers:
        worker.end()
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


def test_questions_go_before_index_work() -> None:
    limiter = Limiter(1, Clock())
    order: list[str] = []
    first = Worker(limiter)
    until(lambda: limiter.in_flight == 1)
    others = []
    for number, (name, priority) in enumerate([("index 1", False), ("index 2", False), ("question", True)], 1):
        others.append(Worker(limiter, priority, order, name))
        until(lambda number=number: limiter.waiting == number)  # type: ignore[misc]
    for worker in others:
        worker.go.set()
    first.end()
    for worker in others:
        worker.end()
    assert order == ["question", "index 1", "index 2"]


def test_the_opening_needs_no_call_to_end() -> None:
    limiter = Limiter(200)
    workers = [Worker(limiter) for _ in range(120)]
    until(lambda: limiter.in_flight == 120)
    for worker in workers:
        worker.go.set()
    for worker in workers:
        worker.end()


def test_overload_passes_through_halves_the_limit_and_pauses() -> None:
    clock = Clock()
    limiter = Limiter(16, clock)
    with pytest.raises(ModelServerError, match="busy"), limiter.slot():
        others = [Worker(limiter) for _ in range(15)]
        until(lambda: limiter.in_flight == 16)
        raise ModelServerError("busy", overloaded=True, retry_after=5)
    assert limiter.limit == 8
    assert limiter.paused_seconds == 5
    for worker in others:
        worker.end()
    waiting = Worker(limiter)
    until(lambda: limiter.waiting == 1)
    assert not waiting.inside.is_set()
    clock.now = 5.0
    Worker(limiter).end()  # whoever comes next also lets in who waited
    waiting.end()


def test_who_waits_for_a_pause_is_woken_by_time_alone() -> None:
    limiter = Limiter(4)
    with pytest.raises(ModelServerError), limiter.slot():
        raise ModelServerError("busy", overloaded=True, retry_after=0.05)
    workers = [Worker(limiter) for _ in range(6)]
    for worker in workers:
        worker.go.set()
    for worker in workers:
        worker.end()


def test_a_refused_request_says_nothing_about_the_limit() -> None:
    limiter = Limiter(16, Clock())
    for _ in range(50):
        with pytest.raises(ModelRequestError), limiter.slot():
            raise ModelRequestError("no such model")
    assert (limiter.limit, limiter.paused_seconds, limiter.in_flight) == (16, 0.0, 0)


def test_failures_in_a_row_pause_although_nobody_said_overload() -> None:
    limiter = Limiter(16, Clock())
    for _ in range(12):
        with pytest.raises(ModelServerError), limiter.slot():
            raise ModelServerError("connection refused")
        if limiter.paused_seconds:
            break
    assert limiter.paused_seconds > 0


def test_greenlets_wait_their_turn_and_one_that_is_killed_leaves_the_line() -> None:
    program = """
from gevent import monkey; monkey.patch_all()
import gevent
from fileintel.llm.limiter import Limiter
limiter, peak = Limiter(5), 0
def work():
    global peak
    with limiter.slot():
        peak = max(peak, limiter.in_flight)
        gevent.sleep(0.01)
jobs = [gevent.spawn(work) for _ in range(60)]
gevent.sleep(0.015)
for job in jobs[3:40]:
    job.kill()
gevent.joinall(jobs, timeout=60)
print(peak, limiter.in_flight, limiter.waiting, all(job.ready() for job in jobs))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["5", "0", "0", "True"], done.stderr
