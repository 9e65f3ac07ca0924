"""Model servers and the processes that call them, simulated by discrete events: an hour of calls takes seconds.

`Simulation(server, [Caller(Knee(600))]).run(60)` puts work without end to the server through a Knee; time is virtual,
and everything drawn comes from one seed. The server shares its speed among the calls in service (processor sharing):
`stretch(n)` says how many times as long a call takes while n are served.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fileintel.llm.knee import Call, Knee

LATENCY = 0.5
Work = Callable[[random.Random], float]


def steady(random: random.Random) -> float:
    """Calls of one length."""
    return LATENCY


def ragged(random: random.Random) -> float:
    """Calls of lengths between a third and five thirds of the mean."""
    return LATENCY * random.uniform(1 / 3, 5 / 3)


def lognormal(random: random.Random) -> float:
    """Calls of mean LATENCY whose standard deviation is 0.7 of it, as answers of varying length have."""
    return LATENCY * random.lognormvariate(-0.2, 0.6324)


def long_tailed(random: random.Random) -> float:
    """Calls of which a few are very long (standard deviation 0.8 of the mean)."""
    return LATENCY * (0.2 + random.expovariate(1 / 0.8))


def flat(n: int) -> float:
    """A server that does not mind how many it serves."""
    return 1.0


def slowing(share: float) -> Callable[[int], float]:
    """A server whose calls take `share` longer for each call beside them, as those of a batch do."""
    return lambda n: 1 + share * (n - 1)


def thrashing(knee: int, power: float = 2.0) -> Callable[[int], float]:
    """A server that does less in all the more calls are beyond its knee, as when a cache no longer holds them."""
    return lambda n: max(1.0, (n / knee) ** power)


@dataclass
class Server:
    """Serves `slots` calls at once, the others queue; 429 when more than `most` are there."""

    slots: int = 10**9
    stretch: Callable[[int], float] = flat
    most: int = 10**9
    retry_after: float | None = None
    down: bool = False

    def best(self, most: int = 2000) -> float:
        """The most calls in service that can be reached, divided by their stretch: throughput for calls of length 1."""
        return max(n / self.stretch(n) for n in range(1, min(self.slots, self.most, most) + 1))


@dataclass
class Caller:
    """A process with work for the server; `work` calls each of a length drawn by `length`."""

    knee: Knee
    work: int = 10**9
    length: Work = steady
    start_seconds: float = 0.0005  # of the process's one core, for each call
    done: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)
    busy: list[tuple[float, int]] = field(default_factory=list)
    core_free: float = 0.0
    ticks: float = -1.0

    def rate(self, since: float, until: float) -> float:
        """Calls answered per second."""
        return sum(since < at <= until for at in self.done) / (until - since)

    def typical_limit(self, since: float, until: float) -> int:
        """The limit that stood longest."""
        weights: dict[int, float] = {}
        for (start, limit), (end, _) in itertools.pairwise([*self.limits, (until, 0)]):
            if end > since:
                weights[limit] = weights.get(limit, 0.0) + min(end, until) - max(start, since)
        return max(weights, key=lambda limit: weights[limit])

    def mean_in_flight(self, since: float, until: float) -> float:
        """Calls in flight, averaged over time."""
        pairs = itertools.pairwise([*self.busy, (until, 0)])
        return sum(n * max(0.0, min(end, until) - max(start, since)) for (start, n), (end, _) in pairs) / (
            until - since
        )


class Simulation:
    """One server, its callers and the time."""

    def __init__(self, server: Server, callers: list[Caller], seed: int = 7) -> None:
        self.server = server
        self.callers = callers
        self.now = 0.0
        self.taken = 0
        self._random = random.Random(seed)
        self._number = itertools.count()
        self._events: list[tuple[float, int, str, Caller, Call | None]] = []
        self._queue: deque[tuple[float, Caller, Call]] = deque()
        self._serving: list[tuple[float, int, Caller, Call]] = []  # by the service received when they end
        self._service = 0.0  # seconds of service that each call in service has received since the beginning
        self._as_of = 0.0

    def run(self, until: float) -> Simulation:
        """Let time pass."""
        for caller in self.callers:
            self._admit(caller)
        while True:
            ends = self._next_end()
            due = self._events[0][0] if self._events else float("inf")
            if min(ends, due) > until:
                self._pass(until)
                return self
            if ends <= due:
                self._pass(ends)
                _, _, caller, call = heapq.heappop(self._serving)
                self._fill()
                self._answered(caller, call)
            else:
                _, _, what, caller, due_call = heapq.heappop(self._events)
                self._pass(due)
                self._happen(what, caller, due_call)

    def _pass(self, until: float) -> None:
        if self._serving:
            self._service += (until - self._as_of) / self.server.stretch(len(self._serving))
        self.now = self._as_of = until

    def _next_end(self) -> float:
        if not self._serving:
            return float("inf")
        left = max(0.0, self._serving[0][0] - self._service)
        return self._as_of + left * self.server.stretch(len(self._serving))

    def _at(self, seconds: float, what: str, caller: Caller, call: Call | None) -> None:
        heapq.heappush(self._events, (seconds, next(self._number), what, caller, call))

    def _admit(self, caller: Caller) -> None:
        knee = caller.knee
        while caller.work > 0 and knee.may_start(self.now):
            caller.work -= 1
            call = knee.start(self.now)
            caller.core_free = max(caller.core_free, self.now) + caller.start_seconds
            self._at(caller.core_free, "arrives", caller, call)
        if caller.work > 0 and (wait := knee.next_change(self.now)) is not None and caller.ticks <= self.now:
            caller.ticks = self.now + wait + 1e-9
            self._at(caller.ticks, "tick", caller, None)
        if not caller.limits or caller.limits[-1][1] != knee.limit:
            caller.limits.append((self.now, knee.limit))
        caller.busy.append((self.now, knee.in_flight))

    def _happen(self, what: str, caller: Caller, call: Call | None) -> None:
        if call is not None and what == "arrives":
            self.taken += 1
            if self.server.down:
                self._at(self.now + 0.001, "failed", caller, call)
            elif len(self._serving) + len(self._queue) >= self.server.most:
                self._at(self.now + 0.002, "overloaded", caller, call)
            else:
                self._queue.append((caller.length(self._random), caller, call))
                self._fill()
            return
        if call is not None:
            caller.refused.append(self.now)
            caller.work += 1
            retry_after = self.server.retry_after if what == "overloaded" else None
            caller.knee.finish(call, self.now, "overloaded" if what == "overloaded" else "failed", retry_after)
        self._admit(caller)

    def _fill(self) -> None:
        while self._queue and len(self._serving) < self.server.slots:
            length, caller, call = self._queue.popleft()
            heapq.heappush(self._serving, (self._service + length, next(self._number), caller, call))

    def _answered(self, caller: Caller, call: Call) -> None:
        caller.done.append(self.now)
        caller.knee.finish(call, self.now, "answered")
        self._admit(caller)


def bursts(caller: Caller, simulation: Simulation, sizes: Iterator[int], until: float) -> None:
    """Give the caller work in steps, the next when the last is done."""
    for size in sizes:
        caller.work = size
        while simulation.now < until and (caller.work or caller.knee.in_flight):
            simulation.run(min(until, simulation.now + 0.05))
        if simulation.now >= until:
            return
