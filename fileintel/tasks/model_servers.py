"""Whether the model servers answer this process: from the calls it makes, and by asking when it makes none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fileintel.errors import FileIntelError, ModelAnswerError, ModelRequestError, ModelServerError

logger = logging.getLogger(__name__)

# A call's failure is news for so long: the next one says whether it lasts.
CALL_NEWS_SECONDS = 90.0
# How long nothing was heard of a server before it is asked whether it is there.
QUIET_SECONDS, FAILING_QUIET_SECONDS = 30.0, 10.0
LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Failure:
    error: str
    since: float
    last: float


class ModelServers:
    """What is known of each server, by its address; `clock` counts seconds. For any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._called: dict[str, _Failure] = {}
        self._looked: dict[str, _Failure] = {}
        self._heard: dict[str, float] = {}

    @contextmanager
    def calling(self, server: str) -> Iterator[None]:
        """Note how a call of the server ends; its error passes through. Ends that say nothing of it are not noted."""
        try:
            yield
        except (ModelServerError, ModelRequestError) as error:
            self._note(self._called, server, str(error))
            raise
        except ModelAnswerError:
            self._answered(server)
            raise
        self._answered(server)

    def look(self, server: str, check: Callable[[], None]) -> None:
        """Ask the server whether it is there, if nothing was heard of it lately; `check` raises what is wrong."""
        quiet = FAILING_QUIET_SECONDS if self._failure(server) else QUIET_SECONDS
        if self._clock() - self._heard.get(server, float("-inf")) < quiet:
            return
        try:
            check()
        except (ModelServerError, ModelRequestError) as error:
            self._note(self._looked, server, str(error))
        else:
            # That it is there does not mean that the calls that failed would go well: only a call clears those.
            with self._lock:
                self._looked.pop(server, None)
                self._heard[server] = self._clock()

    def failing(self) -> tuple[str, float] | None:
        """(last error, since how many seconds) of the server that has failed longest, or None."""
        found = [failure for server in {*self._called, *self._looked} if (failure := self._failure(server))]
        if not found:
            return None
        oldest = min(found, key=lambda failure: failure.since)
        return oldest.error, self._clock() - oldest.since

    def _failure(self, server: str) -> _Failure | None:
        called = self._called.get(server)
        if called is not None and self._clock() - called.last <= CALL_NEWS_SECONDS:
            return called
        return self._looked.get(server)

    def _answered(self, server: str) -> None:
        with self._lock:
            self._called.pop(server, None)
            self._looked.pop(server, None)
            self._heard[server] = self._clock()

    def _note(self, kind: dict[str, _Failure], server: str, error: str) -> None:
        with self._lock:
            now = self._clock()
            # A failure long ago, with silence since, is another one.
            before = [found[server] for found in (self._called, self._looked) if server in found]
            since = min((one.since for one in before if now - one.last <= CALL_NEWS_SECONDS), default=now)
            kind[server] = _Failure(error, since, now)
            self._heard[server] = now


servers = ModelServers()


def watch(stop: threading.Event) -> None:
    """Look after the configured servers until `stop` is set; for a thread of its own, since a look may take long."""
    from fileintel.tasks import models

    while not stop.is_set():
        limiter = models.limiter_in_use()
        try:
            chat = models.chat_client()
            # A server that works on calls may be too busy to answer another one at once.
            if limiter is None or not limiter.in_flight:
                servers.look(chat.base_url, chat.check)
            embedding = models.embedding_model()
            if embedding.base_url != chat.base_url:
                servers.look(embedding.base_url, embedding.check)
        except FileIntelError as error:
            logger.warning("looking after the model servers: %s", error)
        except Exception:
            logger.exception("looking after the model servers")
        stop.wait(LOOK_SECONDS)
