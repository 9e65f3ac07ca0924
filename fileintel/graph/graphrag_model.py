"""GraphRAG's extractors with our chat model behind them, without an event loop.

The extractors are coroutines around one awaited call. Our chat model blocks its greenlet (or thread) instead of
suspending, so a coroutine runs from start to end in one `send`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fileintel.errors import ModelAnswerError
from fileintel.model import ChatRequest, Message, Stage
from fileintel.protocols import ChatModel, Tokenizer

T = TypeVar("T")


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
        """Ask the chat model; raises its errors, and ModelAnswerError when structured output cannot be read."""
        request = ChatRequest(
            model=self._name,
            messages=_messages(messages),
            json_schema=None if response_format is None else _schema(response_format),
            stage=self._stage,
        )
        answer = self._chat.complete(request)
        if response_format is None:
            return GraphRagAnswer(answer.content)
        return GraphRagAnswer(answer.content, read_json(answer.content, response_format))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a GraphRAG coroutine suspended: the model behind it must block, not await")


def read_json(content: str, form: type[BaseModel]) -> BaseModel:
    """Read a model's JSON, mending what local models commonly break (fences, trailing commas, cut ends).

    Raises ModelAnswerError with the raw answer when it cannot be read as `form`.
    """
    try:
        return form.model_validate_json(content)
    except ValidationError:
        from json_repair import loads

        try:
            return form.model_validate(loads(content))
        except (ValidationError, ValueError) as error:
            raise ModelAnswerError(
                f"the model's answer is not the JSON that {form.__name__} asks for", raw=content
            ) from error


_schemas: dict[type[BaseModel], dict[str, Any]] = {}


def _schema(form: type[BaseModel]) -> dict[str, Any]:
    if form not in _schemas:
        _schemas[form] = form.model_json_schema()
    return _schemas[form]


def _messages(messages: str | Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return (Message("user", messages),)
    return tuple(Message(message["role"], message["content"]) for message in messages)
