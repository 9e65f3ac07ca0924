"""What this process may still spend on each build: lots of calls from the database, handed out one by one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from fileintel.errors import BudgetSpentError
from fileintel.model import ChatAnswer
from fileintel.settings import load
from fileintel.store import budget


class Purse:
    """The budget of one build in this process; `take` before each call, `paid` after it.

    Without a budget neither costs anything.
    """

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._lock = threading.Lock()
        self._granted = 0
        self._owed = 0.0
        self._limited = False
        self._round: int | None = None

    def limit(self, parameters: Mapping[str, Any]) -> None:
        """Note whether the build has a budget now; calls held from before it was resumed are void."""
        self._limited = bool(parameters.get("budget_calls") or parameters.get("budget_cost"))
        if parameters.get("budget_round") != self._round:
            self._round = parameters.get("budget_round")
            self._granted = 0

    def take(self) -> None:
        """Take leave to make one call; raises BudgetSpentError when the budget has none left."""
        if not self._limited:
            return
        # Held over the round trip: whoever comes meanwhile finds the lot that this one brings.
        with self._lock:
            if self._granted == 0:
                owed, self._owed = self._owed, 0.0
                try:
                    self._granted = budget.grant(self._run_id, cost=owed)
                except BaseException:
                    self._owed += owed
                    raise
            if self._granted == 0:
                raise BudgetSpentError(f"the budget of index run {self._run_id} is spent")
            self._granted -= 1

    def paid(self, answer: ChatAnswer) -> None:
        """Note what a call has cost, at the configured prices."""
        if self._limited:
            settings = load()
            cost = (answer.tokens_in * settings.price_input + answer.tokens_out * settings.price_output) / 1e6
            with self._lock:
                self._owed += cost


_purses: dict[int, Purse] = {}


def of(run_id: int, parameters: Mapping[str, Any]) -> Purse:
    """This process's purse of a build."""
    purse = _purses.get(run_id)
    if purse is None:
        # Those of builds long ended are dropped; an unused grant dropped with one counts again when it is resumed.
        while len(_purses) >= 64:
            _purses.pop(next(iter(_purses)))
        purse = _purses[run_id] = Purse(run_id)
    purse.limit(parameters)
    return purse
