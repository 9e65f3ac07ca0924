"""GraphRAG's extractors with our chat model behind them, without an event loop.

The extractors are coroutines around one awaited call. Our chat model blocks its greenlet (or thread) instead of
suspending, so a coroutine runs from start to end in one `send`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from fileintel.graph.asking import ask
from fileintel.model import ChatAnswer, ChatRequest, Message, Stage
from fileintel.protocols import ChatModel, Tokenizer

T = TypeVar("T")


class _Past(BaseException):
    """Carries an error past GraphRAG's `except Exception`, which would log it with its stack and swallow it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class GraphRagAnswer:
    """What GraphRAG's extractors read of a completion."""

    content: str
    formatted_response: BaseModel | None = None


class GraphRagTokenizer:
    """Our tokenizer under the names GraphRAG calls."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers."""
        return self._tokenizer.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers."""
        return self._tokenizer.decode(tokens)

    def num_tokens(self, text: str) -> int:
        """Return how many tokens the text has."""
        return self._tokenizer.count(text)


# Makes of a request's answer what GraphRAG reads of it; told whether it is the second. Raises asking.UnusableError.
Read = Callable[[ChatRequest, ChatAnswer, bool], GraphRagAnswer]


class GraphRagModel:
    """The model object GraphRAG's extractors ask: `completion_async` and `tokenizer`; each answer passes `read`.

    `json_schema` gives the schema that the answer to a question is held to, where GraphRAG asks for none.
    """

    def __init__(
        self,
        chat: ChatModel,
        name: str,
        *,
        stage: Stage | None,
        tokenizer: Tokenizer | None = None,
        read: Read | None = None,
        json_schema: Callable[[str], Mapping[str, Any] | None] | None = None,
    ) -> None:
        self._chat = chat
        self._name = name
        self._stage = stage
        self._read = as_said if read is None else read
        self._json_schema = json_schema
        self.tokenizer = None if tokenizer is None else GraphRagTokenizer(tokenizer)

    async def completion_async(
        self,
        *,
        messages: str | Sequence[Mapping[str, Any]],
        response_format: type[BaseModel] | None = None,
        **_: Any,
    ) -> GraphRagAnswer:
        """Ask the chat model, twice if need be; `drive` raises its errors, and ModelAnswerError."""
        said = _messages(messages)
        schema: Mapping[str, Any] | None = None if response_format is None else _schema(response_format)
        if self._json_schema is not None:
            schema = self._json_schema(said[-1].content)
        request = ChatRequest(
            model=self._name,
            messages=said,
            json_schema=schema,
            stage=self._stage,
        )
        try:
            return ask(self._chat, request, partial(self._read, request))
        except Exception as error:
            raise _Past(error) from None


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end and return its result; raises the chat model's errors."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except _Past as past:
        raise past.error from past.error.__cause__
    coroutine.close()
    raise RuntimeError("a GraphRAG coroutine suspended: the model behind it must block, not await")


def as_said(_request: ChatRequest, answer: ChatAnswer, _again: bool) -> GraphRagAnswer:
    """Read an answer as it is."""
    return GraphRagAnswer(answer.content)


_schemas: dict[type[BaseModel], dict[str, Any]] = {}


def _schema(form: type[BaseModel]) -> dict[str, Any]:
    if form not in _schemas:
        _schemas[form] = form.model_json_schema()
    return _schemas[form]


def _messages(messages: str | Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return (Message("user", messages),)
    return tuple(Message(message["role"], message["content"]) for message in messages)
