"""GraphRAG's extractors with our chat model behind them, without an event loop.

The extractors are coroutines around one awaited call. Our chat model blocks its greenlet (or thread) instead of
suspending, so a coroutine runs from start to end in one `send`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import json_repair
from pydantic import BaseModel, ValidationError

from fileintel.errors import ModelAnswerError
from fileintel.model import ChatRequest, Message, Stage
from fileintel.protocols import ChatModel, Tokenizer

T = TypeVar("T")
FormT = TypeVar("FormT", bound=BaseModel)

# json_repair takes a quarter of a second over two thousand of them, for which the gevent hub cannot wait.
_LOST_IN_BRACKETS = re.compile(r"(?:[\[{]\s*){30}")


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


class GraphRagModel:
    """The model object GraphRAG's extractors ask: `completion_async` and `tokenizer`."""

    def __init__(self, chat: ChatModel, name: str, *, stage: Stage | None, tokenizer: Tokenizer | None = None) -> None:
        self._chat = chat
        self._name = name
        self._stage = stage
        self.tokenizer = None if tokenizer is None else GraphRagTokenizer(tokenizer)

    async def completion_async(
        self,
        *,
        messages: str | Sequence[Mapping[str, Any]],
        response_format: type[BaseModel] | None = None,
        **_: Any,
    ) -> GraphRagAnswer:
        """Ask the chat model; `drive` raises its errors, and ModelAnswerError when structured output is unreadable."""
        request = ChatRequest(
            model=self._name,
            messages=_messages(messages),
            json_schema=None if response_format is None else _schema(response_format),
            stage=self._stage,
        )
        try:
            content = self._chat.complete(request).content
            return GraphRagAnswer(content, None if response_format is None else read_json(content, response_format))
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


def read_json(content: str, form: type[FormT]) -> FormT:
    """Read a model's JSON, mending what local models commonly break (fences, prose around it, commas, cut ends).

    Raises ModelAnswerError with the raw answer when it cannot be read as `form`.
    """
    try:
        return form.model_validate_json(content)
    except ValidationError as error:
        unreadable = error
    # Mending takes long for what was never meant as this form, and no mending adds a field.
    if all(name in content for name in form.model_fields):
        for mended in _mended(content):
            try:
                return form.model_validate_json(mended)
            except ValidationError as error:
                unreadable = error
    raise ModelAnswerError(
        f"the model's answer is not the JSON that {form.__name__} asks for", raw=content
    ) from unreadable


def _mended(content: str) -> list[bytes]:
    if _LOST_IN_BRACKETS.search(content):
        return []
    try:
        found = json_repair.loads(content)
    except (RecursionError, ValueError):
        return []
    # Several values are a list: the object that was asked for, and what was taken for JSON in the prose around it.
    candidates = found if isinstance(found, list) else [found]
    # Half of a surrogate pair is no text.
    return [json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") for value in candidates]


_schemas: dict[type[BaseModel], dict[str, Any]] = {}


def _schema(form: type[BaseModel]) -> dict[str, Any]:
    if form not in _schemas:
        _schemas[form] = form.model_json_schema()
    return _schemas[form]


def _messages(messages: str | Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return (Message("user", messages),)
    return tuple(Message(message["role"], message["content"]) for message in messages)
