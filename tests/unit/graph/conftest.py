from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fileintel.model import ChatAnswer, ChatRequest


class Chat:
    """A chat model that keeps what it was asked and answers from a list (exceptions are raised) or by a rule."""

    def __init__(self, *answers: str | Exception, rule: Callable[[ChatRequest], str] | None = None) -> None:
        self.requests: list[ChatRequest] = []
        self._answers = list(answers)
        self._rule = rule

    def complete(self, request: ChatRequest) -> ChatAnswer:
        self.requests.append(request)
        given = self._rule(request) if self._rule is not None else self._answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return ChatAnswer(given)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        raise AssertionError("the stages of the graph read answers whole")


@pytest.fixture(scope="session")
def chat() -> type[Chat]:
    return Chat
