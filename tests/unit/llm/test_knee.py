"""The limit finds the best concurrency of simulated servers; everything is simulated, time too."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fileintel.llm.knee import Call, Knee, Outcome

LATENCY = 0.35


@dataclass
class Server:
    """A model server: `slots` calls at once and a queue; `slowdown` of each further call; 429 beyond `most`."""

    slots: int = 10**9
    latency: Callable[[random.Random], float] = lambda _: LATENCY
    slowdown: float = 0.0
    most: int = 10**9
    retry_after: float | None = None
    down: bool = False


@dataclass
class Simulation:
    """Work without end put to a server through a Knee."""

    knee: Knee
    server: Server
    work: int = 10**9
    now: float = 0.0
    done: int = 0
    refused: int = 0
    taken: int = 0
    serving: int = 0
    events: list[tuple[float, int, str, Call | None]] = field(default_factory=list)
    queue: deque[Call] = field(default_factory=deque)
    order: itertools.count[int] = field(default_factory=itertools.count)
    random: random.Random = field(default_factory=lambda: random.Random(7))
    limits: list[tuple[float, int]] = field(default_factory=list)
    busy: list[tuple[float, int]] = field(default_factory=list)

    def at(self, seconds: float, what: str, call: Call | None) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), what, call))

    def run(self, until: float) -> Simulation:
        self.admit()
        while self.events and self.events[0][0] <= until:
            self.now, _, what, call = heapq.heappop(self.events)
            if call is not None:
                self.end(what, call)
            self.admit()
        return self

    def admit(self) -> None:
        while self.work > 0 and self.knee.may_start(self.now):
            self.work -= 1
            self.arrive(self.knee.start(self.now))
        if self.work > 0 and (wait := self.knee.next_change(self.now)) is not None:
            self.at(wait + 1e-9, "tick", None)
        self.limits.append((self.now, self.knee.limit))
        self.busy.append((self.now, self.knee.in_flight))

    def arrive(self, call: Call) -> None:
        self.taken += 1
        if self.server.down:
            self.at(0.001, "failed", call)
        elif self.serving + len(self.queue) >= self.server.most:
            self.at(0.005, "overloaded", call)
        elif self.serving >= self.server.slots:
            self.queue.append(call)
        else:
            self.serve(call)

    def serve(self, call: Call) -> None:
        self.serving += 1
        slower = 1 + self.server.slowdown * (self.serving - 1)
        self.at(self.server.latency(self.random) * slower, "answered", call)

    def end(self, what: str, call: Call) -> None:
        outcome: Outcome = "answered"
        if what == "answered":
            self.done += 1
            self.serving -= 1
            while self.queue and self.serving < self.server.slots:
                self.serve(self.queue.popleft())
        else:
            outcome = "overloaded" if what == "overloaded" else "failed"
            self.refused += 1
            self.work += 1
        self.knee.finish(call, self.now, outcome, self.server.retry_after if what == "overloaded" else None)

    def typical_limit(self, since: float) -> float:
        """The limit that stood longest since then, to the nearest call."""
        weights: dict[int, float] = {}
        for (start, limit), (end, _) in itertools.pairwise([*self.limits, (self.now, 0)]):
            if end > since:
                weights[limit] = weights.get(limit, 0.0) + end - max(start, since)
        return max(weights, key=lambda limit: weights[limit])

    def mean_in_flight(self, since: float, until: float) -> float:
        total = 0.0
        for (start, busy), (end, _) in itertools.pairwise([*self.busy, (until, 0)]):
            total += busy * max(0.0, min(end, until) - max(start, since))
        return total / (until - since)


def ragged(spread: float) -> Callable[[random.Random], float]:
    return lambda random: LATENCY * random.uniform(1 - spread, 1 + spread)


def long_tailed(random: random.Random) -> float:
    return LATENCY * (0.2 + random.expovariate(1 / 0.8))


def test_a_wide_server_is_full_within_one_latency_of_the_first_call() -> None:
    simulation = Simulation(Knee(200), Server(), work=168).run(LATENCY * 0.5)
    assert simulation.knee.in_flight == 168
    simulation.run(100)
    assert simulation.done == 168
    assert simulation.now < 1.5 * LATENCY


@pytest.mark.parametrize("latency", [ragged(0.0), ragged(0.7), long_tailed])
def test_a_wide_server_is_kept_busy(latency: Callable[[random.Random], float]) -> None:
    simulation = Simulation(Knee(200), Server(latency=latency)).run(100 * LATENCY)
    assert simulation.mean_in_flight(LATENCY, 100 * LATENCY) > 180
    assert simulation.typical_limit(10 * LATENCY) == 200


@pytest.mark.parametrize("latency", [ragged(0.0), ragged(0.7), long_tailed])
@pytest.mark.parametrize("slots", [8, 32, 128])
def test_a_server_of_some_slots_gets_about_as_many_calls(slots: int, latency: Callable[[random.Random], float]) -> None:
    simulation = Simulation(Knee(200), Server(slots=slots, latency=latency)).run(400 * LATENCY)
    assert 0.75 * slots <= simulation.typical_limit(100 * LATENCY) <= 2 * slots
    done = simulation.done
    simulation.run(600 * LATENCY)
    mean = sum(latency(random.Random(n)) for n in range(2000)) / 2000
    assert simulation.done - done > 0.85 * slots * 200 * LATENCY / mean


def test_a_queue_shows_before_the_opening_calls_are_through() -> None:
    simulation = Simulation(Knee(200), Server(slots=8)).run(12 * LATENCY)
    assert simulation.knee.limit <= 50


def test_a_server_that_slows_down_with_its_batch_is_not_starved() -> None:
    simulation = Simulation(Knee(200), Server(slowdown=0.002)).run(100 * LATENCY)
    assert simulation.typical_limit(20 * LATENCY) == 200
    narrow = Simulation(Knee(200), Server(slowdown=0.2)).run(600 * LATENCY)
    assert narrow.typical_limit(300 * LATENCY) <= 50


@pytest.mark.parametrize("retry_after", [None, 0.5])
@pytest.mark.parametrize("most", [8, 32, 128])
def test_a_server_that_refuses_is_approached_from_below(most: int, retry_after: float | None) -> None:
    simulation = Simulation(Knee(200), Server(most=most, retry_after=retry_after)).run(400 * LATENCY)
    assert 0.6 * most <= simulation.typical_limit(100 * LATENCY) <= most
    assert simulation.refused < 0.05 * simulation.done + 100
    assert simulation.done > 0.6 * most * 400


def test_a_retry_after_is_kept() -> None:
    simulation = Simulation(Knee(200), Server(most=16, retry_after=20.0)).run(LATENCY)
    taken = simulation.taken
    simulation.run(19.9)
    assert simulation.taken == taken
    assert simulation.knee.in_flight == 0
    simulation.run(21)
    assert simulation.taken > taken


def test_one_burst_of_refusals_halves_the_limit_once() -> None:
    knee = Knee(64)
    calls = []
    for now in (0.0, 0.1):
        while knee.may_start(now):
            calls.append(knee.start(now))
    assert len(calls) == knee.limit == 64
    for call in calls[32:]:
        knee.finish(call, 0.2, "overloaded")
    assert knee.limit == 32
    assert knee.may_start(0.2) is False


def test_a_server_that_is_down_is_asked_ever_more_seldom() -> None:
    simulation = Simulation(Knee(200), Server(down=True)).run(60)
    assert simulation.taken < 600
    simulation.server.down = False
    simulation.run(60 + 30 + 40 * LATENCY)
    assert simulation.knee.limit > 100


def test_it_follows_a_server_that_changes() -> None:
    simulation = Simulation(Knee(200), Server(slots=8)).run(400 * LATENCY)
    simulation.server.slots = 128
    simulation.run(1000 * LATENCY)
    assert simulation.typical_limit(800 * LATENCY) >= 96
    simulation.server.slots = 16
    simulation.run(2000 * LATENCY)
    assert simulation.typical_limit(1600 * LATENCY) <= 32


def test_what_one_step_taught_is_kept_for_the_next_but_doubted() -> None:
    simulation = Simulation(Knee(200), Server(slots=8), work=3000).run(10_000)
    learned = simulation.typical_limit(0.5 * simulation.now)
    assert simulation.knee.in_flight == 0
    assert simulation.knee.limit <= 2 * learned <= 40


def test_calls_of_different_lengths_are_no_queue() -> None:
    lengths = itertools.cycle([0.2, 3.0, 1.0, 0.5, 2.0])
    server = Server(latency=lambda _: next(lengths))
    simulation = Simulation(Knee(200), server).run(60)
    assert simulation.mean_in_flight(1, 60) > 170


def test_a_ceiling_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="ceiling"):
        Knee(0)
