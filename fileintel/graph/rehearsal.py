"""Going through a build's calls without making one: what remembered answers suffice for, and what would be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from fileintel.errors import FileIntelError
from fileintel.model import ChatAnswer, ChatRequest
from fileintel.protocols import ChatModel

T = TypeVar("T")
Recall = Callable[[Sequence[str]], Mapping[str, ChatAnswer]]
# So many items' requests are looked up at once.
PIECE = 500


class _UnansweredError(Exception):
    def __init__(self, key: str, request: ChatRequest) -> None:
        super().__init__(key)
        self.key = key
        self.request = request


@dataclass(frozen=True, slots=True)
class Rehearsed(Generic[T]):
    """An item gone through: its `result` if all was remembered, else the first request that is not (`asked`).

    `answers` are the remembered ones, in order. An item whose remembered answers cannot be used has neither result
    nor request: it asks anew.
    """

    result: T | None
    asked: ChatRequest | None
    answers: tuple[ChatAnswer, ...]

    @property
    def done(self) -> bool:
        """Whether nothing would be asked."""
        return self.result is not None


class _Remembering:
    """A chat model that only remembers."""

    def __init__(self, known: Mapping[str, ChatAnswer]) -> None:
        self._known = known
        self.answers: list[ChatAnswer] = []

    def complete(self, request: ChatRequest) -> ChatAnswer:
        key = request.key
        if key not in self._known:
            raise _UnansweredError(key, request)
        self.answers.append(self._known[key])
        return self._known[key]

    def stream(self, request: ChatRequest) -> Any:
        raise NotImplementedError("a rehearsal is not streamed")


def rehearse(items: Iterable[Callable[[ChatModel], T]], recall: Recall) -> Iterable[Rehearsed[T]]:
    """Yield what comes of each item when it may only remember; `recall` is asked for PIECE items' keys at a time.

    Each item is the engine's own work on one work item, so that its requests are exactly those of a build.
    """
    waiting = iter(items)
    while piece := list(islice(waiting, PIECE)):
        yield from _piece(piece, recall)


def _piece(items: Sequence[Callable[[ChatModel], T]], recall: Recall) -> list[Rehearsed[T]]:
    found: dict[int, Rehearsed[T]] = {}
    known: dict[str, ChatAnswer] = {}
    sought: set[str] = set()
    left = list(range(len(items)))
    while left:
        keys: dict[str, None] = {}
        for place in left:
            chat = _Remembering(known)
            try:
                found[place] = Rehearsed(items[place](chat), None, tuple(chat.answers))
            except _UnansweredError as unanswered:
                if unanswered.key in sought:
                    found[place] = Rehearsed(None, unanswered.request, tuple(chat.answers))
                else:
                    keys[unanswered.key] = None
            except FileIntelError:
                found[place] = Rehearsed(None, None, ())
        sought.update(keys)
        known.update(recall(list(keys)) if keys else {})
        left = [place for place in left if place not in found]
    return [found[place] for place in range(len(items))]
