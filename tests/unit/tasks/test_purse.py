from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fileintel import settings
from fileintel.errors import BudgetSpentError
from fileintel.model import ChatAnswer
from fileintel.store import budget
from fileintel.tasks.purse import Purse, of


@pytest.fixture
def granting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A database that grants lots of 3 calls of 7; what it is told each lot has cost."""
    costs: list[float] = []
    left = [7]

    def grant(run_id: int, *, cost: float = 0.0) -> int:
        costs.append(cost)
        lot = min(3, left[0])
        left[0] -= lot
        return lot

    monkeypatch.setattr(budget, "grant", grant)
    monkeypatch.setenv("FILEINTEL_PRICE_INPUT", "1000000")
    settings.load.cache_clear()
    yield costs
    settings.load.cache_clear()


def purse(**parameters: float) -> Purse:
    made = Purse(1)
    made.limit(parameters)
    return made


def test_without_a_budget_nothing_is_asked(granting: list[float]) -> None:
    free = purse(budget_calls=0)
    for _ in range(100):
        free.take()
        free.paid(ChatAnswer("x", tokens_in=1))
    assert granting == []


def test_lots_are_used_up_before_the_next_and_the_budget_ends(granting: list[float]) -> None:
    held = purse(budget_calls=7)
    for _ in range(7):
        held.take()
        held.paid(ChatAnswer("x", tokens_in=2))
    with pytest.raises(BudgetSpentError):
        held.take()
    assert granting == [0.0, 6.0, 6.0, 2.0]  # what each lot was told of the one before


def test_many_callers_share_the_lots(granting: list[float]) -> None:
    held = purse(budget_cost=1.0)
    taken: list[bool] = []

    def caller() -> None:
        try:
            held.take()
        except BudgetSpentError:
            taken.append(False)
        else:
            taken.append(True)

    callers = [threading.Thread(target=caller) for _ in range(20)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert taken.count(True) == 7 and taken.count(False) == 13


def test_a_cost_is_owed_until_the_database_takes_it(granting: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    held = purse(budget_cost=1.0)
    held.paid(ChatAnswer("x", tokens_in=5))
    working = budget.grant

    def away(run_id: int, *, cost: float = 0.0) -> int:
        raise ConnectionError

    monkeypatch.setattr(budget, "grant", away)
    with pytest.raises(ConnectionError):
        held.take()
    monkeypatch.setattr(budget, "grant", working)
    held.take()
    assert granting == [5.0]


def test_a_raised_budget_is_seen_by_the_next_task(granting: list[float]) -> None:
    held = of(77, {"budget_calls": 1})
    held.take()
    assert of(77, {"budget_calls": 0}) is held
    for _ in range(50):
        held.take()


def test_calls_held_from_before_a_run_was_resumed_are_void(granting: list[float]) -> None:
    held = purse(budget_calls=7)
    held.take()
    held.limit({"budget_calls": 7, "budget_round": 1})
    held.take()
    assert len(granting) == 2
