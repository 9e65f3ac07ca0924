"""A chat model that answers at once, so that the extractors can be tried before the first real call."""

from __future__ import annotations

from collections.abc import Iterator

from fileintel.model import ChatAnswer, ChatRequest

_REPORT = '{"title": "-", "summary": "-", "findings": [], "rating": 1, "rating_explanation": "-"}'
_EXTRACTION = '("entity"<|>A<|>EVENT<|>a)##("relationship"<|>A<|>A<|>a<|>1)##<|COMPLETE|>'


class Rehearsal:
    """Answers every request with a well-formed nothing."""

    def complete(self, request: ChatRequest) -> ChatAnswer:
        """Answer with the form the request asks for."""
        return ChatAnswer(_REPORT if request.json_schema is not None else _EXTRACTION)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Yield the same."""
        yield self.complete(request).content
