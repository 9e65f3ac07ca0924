"""How many calls a model server is best given at once, learned from what became of the calls; no threads, no clock.

Nothing is known of a server at first, and waiting to find out would leave a wide one idle. So the limit opens fast,
doubling every few milliseconds to the ceiling or to `_FIRST_FLIGHT` calls, and is then learned in both directions:

- Throughput at a limit is (calls in flight) / (mean duration), by Little's law, sampled over calls that started while
  the limit was full; so neither a lack of work nor answers that come in waves look like a slower server.
- Trials move the limit: a lower or a higher one is set, sampled, and kept or taken back. More calls must bring more
  throughput: k times as many at least k ** `_WORTH` times as much, and fewer may cost no more than that. A trial ends
  as soon as the difference is more than chance, by the standard errors of the durations (a sequential test), or as
  soon as the calls that are still unanswered have waited too long for it to succeed. One that fails is repeated after
  twice as long, counted in generations: as many answers as calls fit into the limit.
- A sample that turns out faster or slower than those before at the same limit means that the server or the work has
  changed: the next trial is due at once. Calls that wait so long that throughput must be far lower halve the limit.
- Calls of the opening that took longer the more calls were before them waited in a queue: the limit is halved.
- 429, 503 and timeouts halve the limit, once per generation of calls, and mark a level that is approached by halves and
  passed only after a time in proportion to what being refused costs. Retry-After is kept; failures in a row
  wait longer each time.

The ideas are those of congestion control: halving on loss is TCP's (Chiu and Jain's additive increase, multiplicative
decrease), the comparison of durations at more and at fewer calls is TCP Vegas's and that of Netflix's
concurrency-limits (Gradient2), the trials of throughput in both directions are PCC's. Durations alone cannot be used as
there: answers differ in length by orders of magnitude, so there is no shortest duration to compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fileintel.llm.samples import Group, Sample

Outcome = Literal["answered", "overloaded", "failed", "neutral"]

_FIRST_LIMIT = 32
_FIRST_FLIGHT = 200  # so many calls are opened on trust
_OPENING_STEP_SECONDS = 0.015  # a server that refuses at once has time to say so before the next doubling
_MORE_CALLS, _QUEUED = 1.5, 1.75  # so much longer beside so many more calls is queueing, not chance
_WORTH = 0.12
_SURE = 2.0  # standard errors
_STALLED = 2.5
_CHANGED, _SURE_OF_CHANGE = math.log(1.3), 3.0
_MOST_UP_PATIENCE, _MOST_DOWN_PATIENCE = 16.0, 64.0  # generations
_REFUSAL_COSTS, _LONGEST_RESPECT = 10.0, 30.0
_NEAR = 1.12  # a limit that is known to be worse is approached no nearer than by this factor ...
_DOUBT = 16.0  # ... and doubted after so many generations
_FAILURES_IN_A_ROW = 5
_LONGEST_BACKOFF, _LONGEST_PAUSE = 30.0, 600.0


@dataclass(slots=True)
class Call:
    """A call in flight; `beside` counts the calls in flight when it started, itself included."""

    started: float
    beside: int
    generation: int
    burst: Group | None  # of the opening
    sample: Sample | None
    group: Group | None  # of the sample


@dataclass(slots=True)
class Direction:
    """How eagerly trials are made upwards or downwards; `patience` and `held` in generations."""

    patience: float
    factor: float
    held: float = 0.0
    failed_at: int = 0

    @property
    def due(self) -> bool:
        """Whether it is time for a trial."""
        return self.held >= self.patience

    def rest(self, limit: int, factor: float, most: float, times: float = 2.0) -> None:
        """A trial failed: wait longer before the next."""
        self.patience, self.held, self.factor = min(max(1.0, self.patience) * times, most), 0.0, factor
        self.failed_at = limit

    def hurry(self, limit: int) -> None:
        """The other direction turned out wrong: try this one, unless it failed here before."""
        if self.failed_at != limit:
            self.patience = min(self.patience, 0.5)


class Knee:
    """The limit on calls in flight, never above `ceiling`; the caller says when calls start and what became of them."""

    def __init__(self, ceiling: int) -> None:
        if ceiling < 1:
            raise ValueError(f"a limiter needs a ceiling of at least 1, not {ceiling}")
        self.ceiling = ceiling
        self.limit = min(ceiling, _FIRST_LIMIT)
        self.in_flight = 0
        self.paused_until = -math.inf
        self._opened = min(ceiling, _FIRST_FLIGHT)
        self._opening = self.limit < self._opened
        self._open_further_at = math.inf
        self._burst = _Burst()
        self._unproven = self._opened  # so many more calls of the burst are watched for a queue
        self._filled = False  # whether the limit was reached since the last pause in the work
        self._hurts = False  # whether more calls were once seen to bring less throughput
        self._generation = 0
        self._cuts_in_a_row = 0
        self._failures_in_a_row = 0
        self._refused_level: int | None = None
        self._respected_until = -math.inf  # when that level may be tried again
        self._refusals_there = 0
        self._sample = Sample(self.limit)
        self._base: Sample | None = None  # at the limit to return to if the trial under way fails
        self._cautious = False  # the trial has more than throughput to its credit: in doubt its limit is kept
        self._too_few, self._too_many = 0.0, math.inf  # limits that trials have shown to be worse
        self._up = Direction(patience=4.0, factor=1.5)
        self._down = Direction(patience=2.0, factor=0.75)

    # --- what the caller asks ---

    def may_start(self, now: float) -> bool:
        """Whether one more call may start."""
        if now < self.paused_until:
            return False
        if now >= self._open_further_at:
            self._move(min(self._opened, self.limit * 2))
            self._open_further_at = math.inf
            self._opening = self.limit < self._opened
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
        if self.in_flight >= self.limit:
            self._filled = True
            if self._opening:
                self._open_further_at = min(self._open_further_at, now + _OPENING_STEP_SECONDS)
        burst = sample = group = None
        if self._unproven > 0:
            self._unproven -= 1
            burst = self._burst.join(self.in_flight, now, max(8, self._opened // 8))
        if not self._opening and self.in_flight >= 0.85 * self.limit:
            sample = self._sample
            group = sample.join(self.in_flight, now)
        return Call(now, self.in_flight, self._generation, burst, sample, group)

    def finish(self, call: Call, now: float, outcome: Outcome, retry_after: float | None = None) -> None:
        """Learn from a call's end; "failed" is an error of the server's, "neutral" says nothing about it."""
        if outcome == "answered":
            self._cuts_in_a_row = self._failures_in_a_row = 0
            self._learn(call, now)
        else:
            for group in (call.burst, call.group):
                if group is not None:
                    group.withdraw(call.beside, call.started)
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

    def _learn(self, call: Call, now: float) -> None:
        burst, sample, group = call.burst, call.sample, call.group
        if burst is not None and burst.answer(call.started, now) and self._base is None:
            self._look_for_a_queue(burst)
        if sample is None or group is None:
            return
        news = sample.answer(group, call.started, now)
        if sample is not self._sample:
            return
        if self._base is not None:
            self._judge(self._base, now, news)
        elif news:
            self._held(news, now)
        elif sample.known and sample.rate_at_most(now) * _STALLED < sample.rate:
            # Either the server has broken down under its load or the calls have become longer: try both directions.
            self._move(max(1, self.limit // 2))
            self._too_few, self._too_many = 0.0, math.inf
            self._down = Direction(patience=0.5, factor=0.5)
            self._up = Direction(patience=4.0, factor=2.0)

    def _look_for_a_queue(self, group: Group) -> None:
        at_once = self._burst.queued_beyond(group)
        if at_once is None:
            return
        # Not below twice what it can do at once: the trials find the rest.
        lower = max(self.limit // 2, 2 * at_once, 4)
        if lower < self.limit:
            self._move(lower)
            self._down.patience = 1.0

    def _held(self, answers: int, now: float) -> None:
        """There is news of the limit; perhaps it is time for a trial."""
        change = self._sample.settle(_CHANGED, _SURE_OF_CHANGE)
        if change:
            self._too_few, self._too_many = 0.0, math.inf
        if change > 0:
            self._up = Direction(patience=0.5, factor=1.25)
        elif change < 0:
            self._down = Direction(patience=0.5, factor=0.5)
        self._up.held += answers / self.limit
        self._down.held += answers / self.limit
        higher, lower = self._higher(now), self._lower()
        if change >= 0 and self._up.due and higher > self.limit:
            self._try(higher, cautious=self._refused_level is not None)
        elif self._down.due and lower < self.limit:
            self._try(lower)

    def _higher(self, now: float) -> int:
        wanted = math.ceil(self.limit * self._up.factor)
        if wanted > self._too_many:
            if (between := math.ceil(math.sqrt(self.limit * self._too_many))) > _NEAR * self.limit:
                wanted = between
            elif self._up.held < _DOUBT:
                wanted = self.limit
        if self._refused_level is not None:
            near = self.limit + max(1, self.limit // 16)
            if self._refused_level > near:
                wanted = min(wanted, (self.limit + self._refused_level) // 2)
            elif now >= self._respected_until:
                wanted = near
            else:
                wanted = self.limit
        return min(self.ceiling, wanted)

    def _lower(self) -> int:
        wanted = int(self.limit * self._down.factor)
        if wanted < self._too_few:
            if (between := int(math.sqrt(self.limit * self._too_few))) * _NEAR < self.limit:
                wanted = between
            elif self._down.held < _DOUBT:
                wanted = self.limit
        return max(1, wanted)

    def _try(self, limit: int, cautious: bool = False) -> None:
        base = self._sample
        self._move(limit)
        self._base, self._cautious = base, cautious

    def _judge(self, base: Sample, now: float, news: int) -> None:
        """End the trial if its outcome is clear: keep the limit or return to the one before."""
        trial, upwards = self._sample, self.limit > base.limit
        needed = _WORTH * math.log(self.limit / base.limit)
        base_error = base.error(trial.spread)
        if trial.rate_at_most(now) < base.rate * math.exp(needed - _SURE * base_error):
            return self._end_trial(base, keep=False, elasticity=0.0 if upwards else 1.0)
        if not (news and trial.known):
            return
        gain = math.log(trial.rate / base.rate)
        sure = abs(gain - needed) > _SURE * math.hypot(trial.error(base.spread), base_error)
        enough = trial.answered >= max(128, self.limit)
        if not (sure or enough):
            return
        keep = gain > needed or (self._cautious and not sure)
        if keep and not upwards and gain > _CHANGED:
            self._hurts = True
        self._end_trial(base, keep, gain / math.log(self.limit / base.limit))

    def _end_trial(self, base: Sample, keep: bool, elasticity: float) -> None:
        """Keep or take back the limit; `elasticity` 1: throughput went with the limit, below 0: against it."""
        upwards = self.limit > base.limit
        self._base = None
        if upwards != keep:  # the higher limit of the two is worse
            if elasticity < 0:
                self._too_many = max(self.limit, base.limit)
            if self._too_few >= min(self.limit, base.limit):
                self._too_few = 0.0
        else:
            self._too_few = min(self.limit, base.limit)
            if self._too_many <= max(self.limit, base.limit):
                self._too_many = math.inf
        if keep and upwards:
            self._up = Direction(patience=0.5, factor=2.0 if elasticity > 0.7 else self._up.factor)
            self._down = Direction(patience=8.0, factor=0.75)
            if self._refused_level is not None and self.limit >= self._refused_level:
                self._refused_level, self._refusals_there = None, 0
        elif keep:
            self._down = Direction(patience=0.5, factor=0.5 if elasticity < -0.5 else 0.75)
            self._up = Direction(patience=8.0, factor=1.25)
        else:
            self._move(base.limit)
            self._sample.recall(base)
            if upwards:
                self._up.rest(base.limit, 1.25, _MOST_UP_PATIENCE)
                if elasticity < -0.2:
                    self._down.hurry(base.limit)
            else:
                # A limit whose every call counts need not be doubted soon again.
                self._down.rest(base.limit, 0.75, _MOST_DOWN_PATIENCE, 8.0 if elasticity > 0.7 else 2.0)
                if elasticity > 0.7:
                    self._up.hurry(base.limit)

    def _move(self, limit: int) -> None:
        """Take another limit and a new sample."""
        self.limit = limit
        self._sample, self._base = Sample(limit), None

    def _refused(self, call: Call, now: float, retry_after: float | None, lowest: int) -> None:
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + min(retry_after, _LONGEST_PAUSE))
        if call.generation != self._generation:
            return  # started before the limit was last lowered: says nothing about the new one
        self._generation += 1
        self._failures_in_a_row = 0
        self._cuts_in_a_row += 1
        self._opening, self._open_further_at = False, math.inf
        if self._cuts_in_a_row > 1 and retry_after is None:
            wait = min(_LONGEST_BACKOFF, 0.5 * 2 ** min(self._cuts_in_a_row - 2, 10))
            self.paused_until = max(self.paused_until, now + wait)
        base = self._base
        if base is not None and base.limit < self.limit:
            self._refused_level = self.limit
            self._respect(now, retry_after, base)
            self._end_trial(base, keep=False, elasticity=0.0)
        else:
            level = min(self.limit, self.in_flight)
            self._refused_level = level if lowest == 1 else None  # a broken server does not break by a level
            self._respect(now, retry_after, self._sample)
            self._move(max(lowest, level // 2))
            self._up = Direction(patience=0.5, factor=2.0)
        self._down = Direction(patience=max(self._down.patience, 8.0), factor=0.75)

    def _respect(self, now: float, retry_after: float | None, sample: Sample) -> None:
        """Put off the next try of a level that was refused, in proportion to the time that a refusal costs."""
        cost = (retry_after or 0.0) + (sample.mean_seconds if sample.known else 0.5)
        self._refusals_there += 1
        wait = min(_LONGEST_RESPECT * max(1.0, cost), _REFUSAL_COSTS * cost * min(self._refusals_there, 4))
        self._respected_until = now + wait

    def _rest(self) -> None:
        """No call is in flight: the next ones may be of another kind, and are compared with one another only."""
        self._burst = _Burst()
        self._unproven = self._opened
        limit = self.limit if self._base is None else self._base.limit
        if self._filled and not self._opening and self._refused_level is None and not self._hurts:
            # A throughput that stops rising may have been the work's doing; being wrong costs the server a queue.
            limit = min(self.ceiling, limit * 2)
        self._too_few, self._too_many = 0.0, math.inf
        self._move(limit)
        self._filled = False


class _Burst:
    """Compares the calls of one burst of work with its first: whoever waits in a queue waits for those before.

    Calls are compared by the order in which they started, each group when nearly all of it is answered: the first
    to be answered are the short ones, and say nothing.
    """

    def __init__(self) -> None:
        self._groups: list[Group] = []

    def join(self, beside: int, now: float, size: int) -> Group:
        """Put a starting call into its group."""
        if not self._groups or self._groups[-1].started >= size:
            self._groups.append(Group(size))
        group = self._groups[-1]
        group.join(beside, now)
        return group

    def queued_beyond(self, group: Group) -> int | None:
        """Return how many calls the server seems to do at once, if this group, just complete, shows a queue."""
        first = self._groups[0]
        if group is first or not first.closed:
            return None
        if group.mean_beside < first.mean_beside * _MORE_CALLS or group.mean_seconds < first.mean_seconds * _QUEUED:
            return None
        return max(1, round(group.mean_beside / group.mean_seconds * first.mean_seconds))
