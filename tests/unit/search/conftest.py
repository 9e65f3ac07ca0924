from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from fileintel.model import Anchor, Source


class WordTokenizer:
    """One token per word with the white space after it."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._word: list[str] = []

    def encode(self, text: str) -> list[int]:
        tokens = []
        for word in re.findall(r"\s*\S+|\s+$", text):
            if word not in self._number:
                self._number[word] = len(self._word)
                self._word.append(word)
            tokens.append(self._number[word])
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._word[token] for token in tokens)

    def count(self, text: str) -> int:
        return len(self.encode(text))


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer()


@pytest.fixture
def source() -> Callable[..., Source]:
    def make(number: int, text: str, *, score: float = 0.0, page: int | None = 1, heading: str | None = None) -> Source:
        anchors = (Anchor(0, page, heading),)
        return Source(number, f"unit-{number}", f"doc-{number}", f"file{number}.pdf", text, anchors, score)

    return make
