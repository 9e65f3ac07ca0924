"""How many calls a model server is best given at once, learned from what became of the calls; no threads, no clock.

Nothing is known of a server at first, and waiting to find out would leave a wide one idle: so the limit opens fast,
doubling every few milliseconds to the ceiling, and is then learned downwards as well as up:

- Calls of the opening that took longer the more calls were before them were queued: the limit comes down at once.
- From then on trials. Throughput is (calls in flight) / (mean duration), by Little's law, measured over calls that
  started while the limit was full. A limit a quarter lower is kept if throughput falls by less than a quarter as much;
  a limit twice as high is kept if throughput rises by at least half as much. A trial that fails is repeated
  after twice as many measurements as before.
- 429, 503 and timeouts halve the limit, once per generation of calls, and mark a level that is approached by halves.
  Retry-After is kept; failures in a row wait longer each time.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["answered", "overloaded", "failed", "neutral"]

_FIRST_LIMIT = 32
_OPENING_STEP_SECONDS = 0.015  # a server that refuses at once has time to say so before the next doubling
_MORE_CALLS, _QUEUED = 1.5, 1.75  # so much longer beside so many more calls is queueing, not chance
_COHORT_SHARE = 0.9  # a measurement does not wait for its stragglers
_CHANGED_FACTOR = 1.25  # throughput at an unchanged limit that differs so much: the server or the work has changed
_MOST_PATIENCE = 32
_FORGET_OVERLOAD_AFTER = 8  # measurements at the brink before a level that was once refused is tried again
_FAILURES_IN_A_ROW = 5
_LONGEST_BACKOFF, _LONGEST_PAUSE = 30.0, 600.0


@dataclass(slots=True)
class Measurement:
    """The durations of calls that started while the limit was full."""

    size: int
    started: int = 0
    beside: int = 0
    answered: int = 0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether enough of its calls have been answered."""
        return self.started >= self.size and self.answered >= math.ceil(self.size * _COHORT_SHARE)

    @property
    def mean_beside(self) -> float:
        """Calls in flight."""
        return self.beside / self.started

    @property
    def mean_seconds(self) -> float:
        """Seconds per call."""
        return max(self.seconds / self.answered, 1e-9)

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.mean_beside / self.mean_seconds

    def withdraw(self, beside: int) -> None:
        """Leave out a call that was not answered."""
        self.started -= 1
        self.beside -= beside


@dataclass(slots=True)
class Call:
    """A call in flight; `beside` counts the calls in flight when it started, itself included."""

    started: float
    beside: int
    generation: int
    group: Measurement | None
    measurement: Measurement | None


@dataclass(slots=True)
class Direction:
    """How eagerly trials are made upwards or downwards."""

    patience: int
    factor: float
    held: int = 0

    @property
    def due(self) -> bool:
        """Whether it is time for a trial."""
        return self.held >= self.patience

    def again(self, factor: float) -> None:
        """A trial succeeded: go on at once."""
        self.patience, self.held, self.factor = 1, 1, factor

    def rest(self, factor: float) -> None:
        """A trial failed: wait longer before the next."""
        self.patience, self.held, self.factor = min(self.patience * 2, _MOST_PATIENCE), 0, factor


class Knee:
    """The limit on calls in flight, never above `ceiling`; the caller says when calls start and what became of them."""

    def __init__(self, ceiling: int) -> None:
        if ceiling < 1:
            raise ValueError(f"a limiter needs a ceiling of at least 1, not {ceiling}")
        self.ceiling = ceiling
        self.limit = min(ceiling, _FIRST_LIMIT)
        self.in_flight = 0
        self.paused_until = -math.inf
        self._opening = self.limit < ceiling
        self._open_further_at = math.inf
        self._burst = _Burst()
        self._unproven = self.ceiling  # so many more calls of the burst are watched for a queue
        self._filled = False  # whether the limit was reached since the last pause in the work
        self._generation = 0
        self._cuts_in_a_row = 0
        self._failures_in_a_row = 0
        self._refused_level: int | None = None
        self._measurement: Measurement | None = None
        self._rate: float | None = None  # calls per second at the limit, or at `_base` during a trial
        self._base: int | None = None  # the limit to return to if the trial under way fails
        self._up = Direction(patience=1, factor=2.0)
        self._down = Direction(patience=4, factor=0.75)

    # --- what the caller asks ---

    def may_start(self, now: float) -> bool:
        """Whether one more call may start."""
        if now < self.paused_until:
            return False
        if now >= self._open_further_at:
            self.limit = min(self.ceiling, self.limit * 2)
            self._open_further_at = math.inf
            self._opening = self.limit < self.ceiling
        return self.in_flight < self.limit

    def next_change(self, now: float) -> float | None:
        """In how many seconds a call may start by the passing of time alone; None if only by the end of another."""
        if now < self.paused_until:
            return self.paused_until - now
        if self._open_further_at < math.inf:
            return max(0.0, self._open_further_at - now)
        return None

    def start(self, now: float) -> Call:
        """Count a call that starts."""
        self.in_flight += 1
        measurement = None
        if self.in_flight >= self.limit:
            self._filled = True
            if self._opening:
                self._open_further_at = min(self._open_further_at, now + _OPENING_STEP_SECONDS)
            else:
                measurement = self._measure()
        group = None
        if self._unproven > 0:
            self._unproven -= 1
            group = self._burst.join(self.in_flight, max(8, self.ceiling // 8))
        return Call(now, self.in_flight, self._generation, group, measurement)

    def finish(self, call: Call, now: float, outcome: Outcome, retry_after: float | None = None) -> None:
        """Learn from a call's end; "failed" is an error of the server's, "neutral" says nothing about it."""
        if outcome == "answered":
            self._cuts_in_a_row = self._failures_in_a_row = 0
            self._learn(call, now - call.started)
        else:
            for measurement in (call.group, call.measurement):
                if measurement is not None:
                    measurement.withdraw(call.beside)
            if outcome == "overloaded":
                self._refused(call, now, retry_after, lowest=1)
            elif outcome == "failed":
                self._failures_in_a_row += call.generation == self._generation
                if retry_after is not None or self._failures_in_a_row >= max(_FAILURES_IN_A_ROW, self.limit // 4):
                    self._refused(call, now, retry_after, lowest=min(self.limit, 8))
        self.in_flight -= 1
        if self.in_flight == 0:
            self._rest()

    # --- learning ---

    def _measure(self) -> Measurement | None:
        current = self._measurement
        if current is None:
            # Growing fast needs no precision; telling a quarter from chance does.
            growing = self._up.due and self._up.factor >= 2
            size = max(8, min(128, self.limit)) if growing else max(48, min(256, 2 * self.limit))
            current = self._measurement = Measurement(size)
        if current.started >= current.size:
            return None
        current.started += 1
        current.beside += self.in_flight
        return current

    def _learn(self, call: Call, seconds: float) -> None:
        group = call.group
        if group is not None:
            was_complete = group.complete
            group.answered += 1
            group.seconds += seconds
            if group.complete and not was_complete and self._base is None:
                self._look_for_a_queue(group)
        current = call.measurement
        if current is None or current is not self._measurement:
            return
        current.answered += 1
        current.seconds += seconds
        if current.complete:
            self._measurement = None
            if self._base is None:
                self._held(current.rate)
            else:
                self._judge(self._base, current.rate)

    def _look_for_a_queue(self, group: Measurement) -> None:
        at_once = self._burst.queued_beyond(group)
        if at_once is None:
            return
        # Not below twice what it can do at once: the trials find the rest.
        lower = max(self.limit // 2, 2 * at_once, 4)
        if lower < self.limit:
            self._set(lower)
            self._down.patience = 1

    def _held(self, rate: float) -> None:
        """A measurement at the limit is there; perhaps it is time for a trial."""
        if self._rate is not None and rate > self._rate * _CHANGED_FACTOR:
            self._up = Direction(patience=1, factor=2.0)
        if self._rate is not None and rate * _CHANGED_FACTOR < self._rate:
            self._down.patience = 1
        self._rate = rate
        self._up.held += 1
        self._down.held += 1
        higher, lower = self._higher(), max(1, int(self.limit * self._down.factor))
        if self._up.due and higher > self.limit:
            self._base, self.limit = self.limit, higher
        elif self._down.due and lower < self.limit:
            self._base, self.limit = self.limit, lower

    def _higher(self) -> int:
        wanted = math.ceil(self.limit * self._up.factor)
        if self._refused_level is not None:
            if self._refused_level > self.limit + max(1, self.limit // 16):
                wanted = min(wanted, (self.limit + self._refused_level) // 2)
            elif self._up.held >= _FORGET_OVERLOAD_AFTER:
                self._refused_level = None
                wanted = math.ceil(self.limit * 1.25)
            else:
                wanted = self.limit
        return min(self.ceiling, wanted)

    def _judge(self, base: int, rate: float) -> None:
        """Keep the limit on trial or return to the one before."""
        before = self._rate or rate
        change, expected = rate / before - 1, self.limit / base - 1
        # `expected` is what a server that is not full would show. Too low a limit costs throughput, too high
        # a one only a queue: so downwards takes stronger proof.
        upwards = self.limit > base
        keep = change >= expected / 2 if upwards else change >= expected / 4
        self._base = None
        if keep:
            self._rate = rate
            if upwards:
                self._up.again(2.0)
                self._down = Direction(patience=8, factor=0.75)
            else:
                self._down.again(0.5)
                self._up = Direction(patience=8, factor=1.5)
        else:
            self.limit = base
            if upwards:
                self._up.rest(1.5 if self._up.factor > 1.5 else 1.25)
            else:
                self._down.rest(0.75)

    def _set(self, limit: int) -> None:
        """Take another limit and forget what was measured at the last."""
        self.limit = limit
        self._opening = False
        self._open_further_at = math.inf
        self._measurement = self._base = self._rate = None

    def _refused(self, call: Call, now: float, retry_after: float | None, lowest: int) -> None:
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + min(retry_after, _LONGEST_PAUSE))
        if call.generation != self._generation:
            return  # started before the limit was last lowered: says nothing about the new one
        self._generation += 1
        self._failures_in_a_row = 0
        self._cuts_in_a_row += 1
        if self._cuts_in_a_row > 1 and retry_after is None:
            wait = min(_LONGEST_BACKOFF, 0.5 * 2 ** min(self._cuts_in_a_row - 2, 10))
            self.paused_until = max(self.paused_until, now + wait)
        if self._base is not None and self._base < self.limit:
            self._refused_level = self.limit
            self._set(self._base)
            self._up.rest(self._up.factor)
        else:
            level = min(self.limit, self.in_flight)
            self._refused_level = level if lowest == 1 else None  # a broken server does not break by a level
            self._set(max(lowest, level // 2))
            self._up = Direction(patience=1, factor=2.0)
        self._down = dataclasses.replace(self._down, patience=max(self._down.patience, 8), held=0)

    def _rest(self) -> None:
        """No call is in flight: the next ones may be of another kind, and are compared with one another only."""
        self._burst = _Burst()
        self._unproven = self.ceiling
        self._measurement = None
        if self._base is not None:
            self.limit, self._base = self._base, None
        self._rate = None
        if self._filled and not self._opening and self._refused_level is None:
            # A throughput that stops rising may have been the work's doing; being wrong costs the server a queue.
            self.limit = min(self.ceiling, self.limit * 2)
        self._filled = False


class _Burst:
    """Compares the calls of one burst of work with its first: whoever waits in a queue waits for those before.

    Calls are compared by the order in which they started, each group when nearly all of it is answered: the first
    to be answered are the short ones, and say nothing.
    """

    def __init__(self) -> None:
        self._groups: list[Measurement] = []

    def join(self, beside: int, size: int) -> Measurement:
        """Put a starting call into its group."""
        if not self._groups or self._groups[-1].started >= size:
            self._groups.append(Measurement(size))
        group = self._groups[-1]
        group.started += 1
        group.beside += beside
        return group

    def queued_beyond(self, group: Measurement) -> int | None:
        """Return how many calls the server seems to do at once, if this group, just complete, shows a queue."""
        first = self._groups[0]
        if group is first or not first.complete:
            return None
        if group.mean_beside < first.mean_beside * _MORE_CALLS or group.mean_seconds < first.mean_seconds * _QUEUED:
            return None
        return max(1, round(group.rate * first.mean_seconds))
