"""Counting and cutting text in tokens, without a network: tiktoken's encodings from the files that litellm ships."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import tiktoken

from fileintel.errors import ConfigurationError

DEFAULT_ENCODING = "o200k_base"


class Tokenizer:
    """A tiktoken encoding as protocols.Tokenizer; special tokens in a text are taken as ordinary text."""

    def __init__(self, encoding: str = DEFAULT_ENCODING) -> None:
        self.name = encoding
        self._encoding = _load(encoding)

    def __repr__(self) -> str:
        return f"Tokenizer({self.name!r})"

    def encode(self, text: str) -> list[int]:
        """Return the text's token numbers."""
        return self._encoding.encode_ordinary(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers; a character cut in two becomes U+FFFD."""
        return self._encoding.decode(list(tokens))

    def count(self, text: str) -> int:
        """Return how many tokens the text has."""
        return len(self._encoding.encode_ordinary(text))


@functools.cache
def _load(encoding: str) -> tiktoken.Encoding:
    if "TIKTOKEN_CACHE_DIR" not in os.environ and (shipped := _shipped_encodings()) is not None:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(shipped)
    try:
        return tiktoken.get_encoding(encoding)
    except ValueError as error:
        raise ConfigurationError(f"no such token encoding: {encoding}; known: {_known()}") from error
    except OSError as error:  # tiktoken wanted to download it
        raise ConfigurationError(
            f"the token encoding {encoding} is not on this machine; set TIKTOKEN_CACHE_DIR to a folder that holds it"
        ) from error


def _shipped_encodings() -> Path | None:
    # The package is found, never imported: that would take seconds and hundreds of MB.
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
    return folder if folder.is_dir() else None


def _known() -> str:
    return ", ".join(sorted(tiktoken.list_encoding_names()))
