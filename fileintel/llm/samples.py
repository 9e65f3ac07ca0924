"""Throughput at one limit on calls in flight, from the durations of calls that started while the limit was full."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

_GROUP_SHARE = 0.75  # a group does not wait for its stragglers
_LEAST_ERROR = 0.02  # of a mean duration, relative: the moments after a change of the limit are not like the rest
_REMEMBERED = 1024  # answers


@dataclass(slots=True)
class Group:
    """Calls that started one after the other; closed when most are answered.

    Calls are taken by the order in which they started: the first to be answered are the short ones, and say nothing.
    Those that are still unanswered at the close count with their age (a winsorised mean), so that a few very
    long ones neither delay a group nor decide on it.
    """

    size: int
    started: int = 0
    beside: int = 0
    answered: int = 0
    seconds: float = 0.0
    squares: float = 0.0
    waiting_since: float = 0.0  # the unanswered calls' times of start, summed up
    closed: bool = False

    @property
    def mean_beside(self) -> float:
        """Calls in flight."""
        return self.beside / self.started

    @property
    def mean_seconds(self) -> float:
        """Seconds per call."""
        return max(self.seconds / self.started, 1e-9)

    def join(self, beside: int, now: float) -> None:
        """Count a call that starts."""
        self.started += 1
        self.beside += beside
        self.waiting_since += now

    def answer(self, started: float, now: float) -> bool:
        """Count a call's answer; returns whether it closes the group."""
        if self.closed:
            return False
        seconds = now - started
        self.answered += 1
        self.seconds += seconds
        self.squares += seconds * seconds
        self.waiting_since -= started
        self.closed = self.started >= self.size and self.answered >= math.ceil(self.size * _GROUP_SHARE)
        if self.closed and (unanswered := self.started - self.answered):
            age = now - self.waiting_since / unanswered
            self.seconds += unanswered * age
            self.squares += unanswered * age * age
        return self.closed

    def withdraw(self, beside: int, started: float) -> None:
        """Leave out a call that was not answered."""
        if not self.closed:
            self.started -= 1
            self.beside -= beside
            self.waiting_since -= started


class Sample:
    """The calls that started while `limit` was full."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._size = max(16, limit // 8)
        self._open: deque[Group] = deque()
        self._settled = _Durations()
        self._news = _Durations()

    def join(self, beside: int, now: float) -> Group:
        """Put a starting call into a group."""
        if not self._open or self._open[-1].started >= self._size:
            self._open.append(Group(self._size))
        group = self._open[-1]
        group.join(beside, now)
        return group

    def answer(self, group: Group, started: float, now: float) -> int:
        """Count an answer; returns how many calls the sample has gained by it, a group's at a time."""
        if not group.answer(started, now):
            return 0
        # In the order of their starts: the first group to close is one of short calls.
        gained = 0
        while self._open and self._open[0].closed:
            closed = self._open.popleft()
            self._news.add(closed)
            gained += closed.started
        return gained

    @property
    def known(self) -> bool:
        """Whether there is a throughput."""
        return self.answered > 0

    @property
    def answered(self) -> float:
        """Answers in complete groups."""
        return self._settled.answered + self._news.answered

    @property
    def mean_seconds(self) -> float:
        """Seconds per call."""
        return max((self._settled.seconds + self._news.seconds) / self.answered, 1e-9)

    @property
    def rate(self) -> float:
        """Calls per second."""
        beside = (self._settled.beside + self._news.beside) / self.answered
        return beside / self.mean_seconds

    @property
    def spread(self) -> float:
        """The standard deviation of the durations, relative to their mean."""
        return self._together().spread

    def error(self, spread: float) -> float:
        """The standard error of `rate`, relative to it, if the durations' relative deviation is at least `spread`."""
        return self._together().error(spread)

    def _together(self) -> _Durations:
        both = _Durations()
        both.absorb(self._settled)
        both.absorb(self._news)
        return both

    def rate_at_most(self, now: float) -> float:
        """The throughput of the calls that are not in it yet if all were answered now: it can only be less."""
        started = beside = 0
        seconds = 0.0
        for group in self._open:
            started += group.started
            beside += group.beside
            seconds += group.seconds
            if not group.closed:
                seconds += (group.started - group.answered) * now - group.waiting_since
        if started < 16 or seconds <= 0:
            return math.inf
        return beside / seconds

    def settle(self, changed: float, sure: float) -> int:
        """Compare the news with what was known: -1 slower, 1 faster (then only the news count), 0 as before."""
        news, settled = self._news, self._settled
        if news.answered < max(48, self.limit / 2):
            return 0
        self._news = _Durations()
        if settled.answered:
            change = math.log(news.rate / settled.rate)
            if abs(change) > max(changed, sure * math.hypot(news.error(settled.spread), settled.error(news.spread))):
                self._settled = news
                return 1 if change > 0 else -1
        settled.absorb(news)
        settled.fade(_REMEMBERED)
        return 0

    def recall(self, earlier: Sample) -> None:
        """Take over what an earlier sample at the same limit knew."""
        self._settled.absorb(earlier._together())


class _Durations:
    """Sums over answered calls."""

    def __init__(self) -> None:
        self.answered = self.beside = self.seconds = self.squares = 0.0

    def add(self, group: Group) -> None:
        self.answered += group.started
        self.beside += group.beside
        self.seconds += group.seconds
        self.squares += group.squares

    def absorb(self, other: _Durations) -> None:
        self.answered += other.answered
        self.beside += other.beside
        self.seconds += other.seconds
        self.squares += other.squares

    def fade(self, most: float) -> None:
        if self.answered > most:
            share = most / 2 / self.answered
            self.answered *= share
            self.beside *= share
            self.seconds *= share
            self.squares *= share

    @property
    def rate(self) -> float:
        return self.beside / max(self.seconds, 1e-9)

    @property
    def spread(self) -> float:
        if not self.answered:
            return 0.0
        mean = max(self.seconds / self.answered, 1e-9)
        return math.sqrt(max(0.0, self.squares / self.answered / mean**2 - 1))

    def error(self, spread: float) -> float:
        if not self.answered:
            return math.inf
        return math.hypot(max(spread, self.spread) / math.sqrt(self.answered), _LEAST_ERROR)
