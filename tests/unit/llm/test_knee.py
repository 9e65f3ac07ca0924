"""The limit finds the best concurrency of simulated servers; everything is simulated, time too."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from simulated_server import (
    LATENCY,
    Caller,
    Server,
    Simulation,
    Work,
    lognormal,
    long_tailed,
    ragged,
    slowing,
    steady,
    thrashing,
)

from fileintel.llm.knee import Knee


def mean(length: Work) -> float:
    return sum(length(random.Random(n)) for n in range(2000)) / 2000


def fraction(caller: Caller, server: Server, since: float, until: float) -> float:
    """Throughput, as a share of the best that the server can do."""
    return caller.rate(since, until) * mean(caller.length) / server.best(caller.knee.ceiling)


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ceiling", [200, 600])
def test_few_long_calls_all_start_at_once_in_every_step(ceiling: int) -> None:
    caller = Caller(Knee(ceiling), length=lambda _: 0.35, work=250)
    simulation = Simulation(Server(), [caller]).run(5.0)
    assert len(caller.done) == 250
    for _ in range(3):
        began = simulation.now
        caller.length, caller.work = (lambda _: 3.5), 168
        simulation.run(began + 0.05)
        assert caller.knee.in_flight == 168
        simulation.run(began + 3.5 + 168 * caller.start_seconds + 0.001)
        assert (caller.knee.in_flight, caller.work) == (0, 0)


def test_a_fresh_limit_lets_200_calls_go_in_50_milliseconds() -> None:
    caller = Caller(Knee(200), length=lambda _: 3.5)
    Simulation(Server(), [caller]).run(0.05)
    assert caller.knee.in_flight == 200


def test_a_queue_shows_before_the_opening_calls_are_through() -> None:
    caller = Caller(Knee(200))
    Simulation(Server(slots=8), [caller]).run(12 * LATENCY)
    assert caller.knee.limit <= 50


def test_calls_of_different_lengths_are_no_queue() -> None:
    lengths = itertools.cycle([0.2, 3.0, 1.0, 0.5, 2.0])
    caller = Caller(Knee(200), length=lambda _: next(lengths))
    Simulation(Server(), [caller]).run(60)
    assert caller.mean_in_flight(1, 60) > 180


# --- finding the knee -------------------------------------------------------------------------------------------------

SERVERS: dict[str, Callable[[], Server]] = {
    "8 slots": lambda: Server(slots=8),
    "32 slots": lambda: Server(slots=32),
    "128 slots": lambda: Server(slots=128),
    "a batch of 128 that slows to a half": lambda: Server(slots=128, stretch=slowing(1 / 128)),
    "a batch without end that slows": lambda: Server(stretch=slowing(0.05)),
    "thrashing beyond 64": lambda: Server(stretch=thrashing(64)),
    "refusing beyond 16": lambda: Server(most=16, retry_after=1.0),
    "refusing beyond 64": lambda: Server(most=64, retry_after=1.0),
}


@pytest.mark.parametrize("length", [steady, lognormal])
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_nothing_is_known_of_is_used_well_within_a_minute(name: str, length: Work) -> None:
    server, caller = SERVERS[name](), Caller(Knee(600), length=length)
    Simulation(server, [caller]).run(60)
    assert fraction(caller, server, 40, 60) >= 0.8
    assert len(caller.refused) <= 0.05 * (len(caller.done) + len(caller.refused))


@pytest.mark.parametrize("length", [ragged, long_tailed])
def test_a_wide_server_is_kept_busy(length: Work) -> None:
    caller = Caller(Knee(200), length=length)
    Simulation(Server(), [caller]).run(50)
    assert caller.mean_in_flight(1, 50) > 180
    assert caller.typical_limit(10, 50) == 200


def test_a_server_of_512_slots_is_filled() -> None:
    server, caller = Server(slots=512), Caller(Knee(600), length=lognormal, start_seconds=0.0001)
    Simulation(server, [caller]).run(20)
    assert fraction(caller, server, 10, 20) >= 0.85


@pytest.mark.parametrize("length", [steady, long_tailed])
def test_a_server_of_some_slots_gets_about_as_many_calls(length: Work) -> None:
    caller = Caller(Knee(200), length=length)
    Simulation(Server(slots=32), [caller]).run(120)
    assert 24 <= caller.typical_limit(60, 120) <= 100


CHANGES: dict[str, tuple[Server, Server]] = {
    "fewer slots": (Server(slots=128), Server(slots=32)),
    "more slots": (Server(slots=32), Server(slots=128)),
    "a lower knee": (Server(stretch=thrashing(128)), Server(stretch=thrashing(32))),
    "a lower level of refusal": (Server(most=128, retry_after=1.0), Server(most=32, retry_after=1.0)),
}


@pytest.mark.parametrize("length", [steady, ragged])
@pytest.mark.parametrize("name", CHANGES)
def test_it_follows_a_server_that_changes(name: str, length: Work) -> None:
    before, after = CHANGES[name]
    caller = Caller(Knee(600), length=length)
    simulation = Simulation(before, [caller]).run(30)
    simulation.server = after
    simulation.run(60)
    assert fraction(caller, after, 48, 60) >= 0.8


def test_calls_that_become_longer_are_no_overload() -> None:
    caller = Caller(Knee(200))
    simulation = Simulation(Server(), [caller]).run(10)
    caller.length = lambda random: 5 * steady(random)
    simulation.run(60)
    assert caller.mean_in_flight(30, 60) > 180


SHARED: dict[str, Callable[[], Server]] = {
    "slots": lambda: Server(slots=128),
    "a batch": lambda: Server(slots=128, stretch=slowing(1 / 128)),
    "refusing": lambda: Server(most=64, retry_after=1.0),
}


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_share_a_server(name: str) -> None:
    server = SHARED[name]()
    callers = [Caller(Knee(200), length=lognormal) for _ in range(2)]
    Simulation(server, callers).run(60)
    assert sum(fraction(caller, server, 40, 60) for caller in callers) >= 0.8
    together = sum(caller.rate(40, 60) for caller in callers)
    assert min(caller.rate(40, 60) for caller in callers) >= together / 4


def test_what_one_step_taught_is_kept_for_the_next_but_doubted() -> None:
    caller = Caller(Knee(200), work=3000)
    simulation = Simulation(Server(slots=8), [caller]).run(300)
    learned = caller.typical_limit(100, simulation.now)
    assert caller.knee.in_flight == 0
    assert caller.knee.limit <= 2 * learned <= 60


# --- overload ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [None, 0.5])
@pytest.mark.parametrize("most", [8, 32, 128])
def test_a_server_that_refuses_is_approached_from_below(most: int, retry_after: float | None) -> None:
    caller = Caller(Knee(200))
    Simulation(Server(most=most, retry_after=retry_after), [caller]).run(60)
    assert 0.75 * most <= caller.typical_limit(20, 60) <= most
    assert caller.rate(20, 60) > 0.8 * most / LATENCY


def test_a_retry_after_is_kept() -> None:
    caller = Caller(Knee(200))
    simulation = Simulation(Server(most=16, retry_after=20.0), [caller]).run(LATENCY)
    taken = simulation.taken
    simulation.run(19.9)
    assert simulation.taken == taken
    assert caller.knee.in_flight == 0
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


def test_a_refusal_ends_the_opening() -> None:
    knee = Knee(200)
    calls = [knee.start(0.0) for _ in range(32)]
    knee.finish(calls.pop(), 0.001, "overloaded")
    assert knee.limit == 16
    assert knee.next_change(0.002) is None


def test_a_server_that_is_down_is_asked_ever_more_seldom() -> None:
    caller = Caller(Knee(200))
    simulation = Simulation(Server(down=True), [caller]).run(60)
    assert simulation.taken < 600
    simulation.server.down = False
    simulation.run(60 + 30 + 40 * LATENCY)
    assert caller.knee.limit > 100


def test_a_ceiling_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="ceiling"):
        Knee(0)
