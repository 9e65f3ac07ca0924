"""Throughput from durations: in the order of the starts, with stragglers, and what can be said before the answers."""

from __future__ import annotations

import math

import pytest

from fileintel.llm.samples import Group, Sample


def full(sample: Sample, calls: int, now: float) -> list[Group]:
    return [sample.join(sample.limit, now) for _ in range(calls)]


def test_throughput_is_the_calls_in_flight_divided_by_their_mean_duration() -> None:
    sample = Sample(16)
    groups = full(sample, 16, 10.0)
    gained = [sample.answer(group, 10.0, 12.0) for group in groups[:12]]
    assert gained == [0] * 11 + [16]
    assert sample.rate == pytest.approx(16 / 2.0)


def test_stragglers_count_with_their_age() -> None:
    sample = Sample(16)
    for group in full(sample, 16, 0.0)[:12]:
        sample.answer(group, 0.0, 1.0 if group.answered < 11 else 5.0)
    assert sample.mean_seconds == pytest.approx((11 * 1.0 + 5 * 5.0) / 16)
    assert sample.answer(Group(16, closed=True), 0.0, 50.0) == 0


def test_a_group_that_is_answered_first_waits_for_those_before_it() -> None:
    sample = Sample(32)
    first, second = full(sample, 16, 0.0), full(sample, 16, 0.0)
    assert [sample.answer(group, 0.0, 0.5) for group in second] == [0] * 16
    assert not sample.known
    for group in first[:11]:
        assert sample.answer(group, 0.0, 2.0) == 0
    assert sample.answer(first[11], 0.0, 2.0) == 32


def test_a_call_without_an_answer_is_left_out() -> None:
    sample = Sample(16)
    groups = full(sample, 17, 0.0)
    groups[0].withdraw(16, 0.0)
    assert groups[0].started == 15
    assert sample.rate_at_most(2.0) == pytest.approx(16 / 2.0)


def test_unanswered_calls_bound_the_throughput_from_above() -> None:
    sample = Sample(16)
    assert math.isinf(sample.rate_at_most(1.0))
    full(sample, 16, 0.0)
    assert sample.rate_at_most(1.0) == pytest.approx(16.0)
    assert sample.rate_at_most(4.0) == pytest.approx(4.0)


@pytest.mark.parametrize(("seconds", "change"), [(1.0, 0), (2.0, -1), (0.5, 1), (1.1, 0)])
def test_only_a_clear_change_is_one(seconds: float, change: int) -> None:
    sample = Sample(16)
    for each, expected in ((1.0, 0), (seconds, change)):
        for _ in range(3):  # fewer than 48 answers say nothing
            assert sample.settle(math.log(1.3), 3.0) == 0
            for group in full(sample, 16, 0.0):
                sample.answer(group, 0.0, each)
        assert sample.settle(math.log(1.3), 3.0) == expected
