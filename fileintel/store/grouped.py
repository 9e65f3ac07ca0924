"""Group commit: what many greenlets or threads ask of the database at once goes there in one statement.

As in databases' own write-ahead logs (DeWitt et al. 1984, "Implementation techniques for main memory database
systems"): nobody waits for a group to fill; while one group is on its way, the next one gathers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from fileintel.errors import ServiceError

Request = TypeVar("Request")
Result = TypeVar("Result")


class Grouped(Generic[Request, Result]):
    """Carries out the requests of all callers, at most `most` in a group; each caller gets its own result.

    `carry_out` returns one result per request, in order. The first to come carries out the group, the others wait.
    ServiceError reaches the whole group; after any other error each request is tried alone, so that one bad request
    fails no other.
    """

    def __init__(self, carry_out: Callable[[list[Request]], list[Result]], most: int = 256) -> None:
        self._carry_out = carry_out
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Request, Result]] = []
        self._led = False

    def __call__(self, request: Request) -> Result:
        """Carry out one request, together with whoever else is asking."""
        ticket: _Ticket[Request, Result] = _Ticket(request)
        with self._lock:
            self._waiting.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            ticket.woken.acquire()
            leads = ticket.leads
        if leads:
            self._lead()
        return ticket.collect()

    def _lead(self) -> None:
        # Whoever else is ready to ask joins first.
        time.sleep(0)
        with self._lock:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._settle(group)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._led = following is not None
            for ticket in group:
                ticket.woken.release()
            if following is not None:
                following.leads = True
                following.woken.release()

    def _settle(self, group: list[_Ticket[Request, Result]]) -> None:
        try:
            results = self._carry_out([ticket.request for ticket in group])
        except ServiceError as error:
            for ticket in group:
                ticket.error = error
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
                return
            for ticket in group:
                self._settle([ticket])
        else:
            for ticket, result in zip(group, results, strict=True):
                ticket.result = result


class _Ticket(Generic[Request, Result]):
    __slots__ = ("error", "leads", "request", "result", "woken")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.result: Result | None = None
        self.error: Exception | None = None
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()

    def collect(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # set by whoever led the group
