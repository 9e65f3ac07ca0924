"""What the pure stages ask of a model: chat and embedding, nothing about where it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from fileintel.model import ChatAnswer, ChatRequest


class ChatModel(Protocol):
    """Answers chat completions; blocks its caller (thread or greenlet) until the answer is there."""

    def complete(self, request: ChatRequest) -> ChatAnswer:
        """Answer the whole request; raises ModelServerError (try later) or ModelRequestError (never)."""
        ...

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Yield the answer piece by piece; same errors as `complete`."""
        ...


class EmbeddingModel(Protocol):
    """Embeds texts."""

    @property
    def name(self) -> str:
        """The model's name, as it is stored beside each vector."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector per text, in order, each of the configured dimensions, of unit length."""
        ...


class Tokenizer(Protocol):
    """Counts and cuts text in a model's tokens."""

    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers."""
        ...

    def count(self, text: str) -> int:
        """Return how many tokens the text has."""
        ...
