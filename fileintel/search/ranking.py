"""Choosing text units for a prompt: fusing rankings, leaving out repetitions, keeping to a token budget."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from fileintel.model import Source
from fileintel.protocols import Tokenizer
from fileintel.search.prompts import render_source

RRF_K = 60
_WORD = re.compile(r"\w+")
_SHINGLE = 5
# What a source must at least have room for; less would be a scrap nobody can cite.
_SMALLEST = 40


def fuse(*rankings: Sequence[Source], k: int = RRF_K) -> list[Source]:
    """Return the sources of all rankings, best first, by reciprocal rank fusion (score = sum of 1 / (k + rank)).

    A text unit that stands in several rankings (or twice in one) is one source; equal scores keep the order of
    first appearance.
    """
    scores: dict[str, float] = {}
    first: dict[str, Source] = {}
    for ranking in rankings:
        seen: set[str] = set()
        for rank, source in enumerate(ranking, start=1):
            unit = source.text_unit_id
            first.setdefault(unit, source)
            if unit not in seen:
                seen.add(unit)
                scores[unit] = scores.get(unit, 0.0) + 1.0 / (k + rank)
    ordered = sorted(first, key=lambda unit: -scores[unit])
    return [replace(first[unit], score=scores[unit]) for unit in ordered]


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    if len(words) < _SHINGLE:
        return frozenset({tuple(words)})
    return frozenset(tuple(words[i : i + _SHINGLE]) for i in range(len(words) - _SHINGLE + 1))


def distinct(sources: Sequence[Source], *, covered: float = 0.8) -> list[Source]:
    """Return the sources without those whose text is, to the share `covered`, in one ranked before them.

    Compared by runs of five words. A long unit that contains an earlier short one stays: it says more.
    """
    kept: list[Source] = []
    kept_shingles: list[frozenset[tuple[str, ...]]] = []
    for source in sources:
        if not source.text.strip():
            continue
        mine = _shingles(source.text)
        if any(len(mine & theirs) >= covered * len(mine) for theirs in kept_shingles):
            continue
        kept.append(source)
        kept_shingles.append(mine)
    return kept


def pack(
    sources: Sequence[Source], *, tokenizer: Tokenizer, max_tokens: int, max_sources: int | None = None
) -> list[Source]:
    """Return as many sources, in order, as `max_tokens` holds when rendered, numbered from 1.

    A source too long for what is left is passed over for a shorter one; if not even the first fits, it is cut to fit
    (its anchors stay true, since it is cut at the end).
    """
    packed: list[Source] = []
    left = max_tokens
    for source in sources:
        if left < _SMALLEST or (max_sources is not None and len(packed) >= max_sources):
            break
        numbered = replace(source, number=len(packed) + 1)
        cost = tokenizer.count(render_source(numbered)) + 1  # the line break that joins them
        if cost <= left:
            packed.append(numbered)
            left -= cost
    if not packed and sources and max_tokens >= _SMALLEST:
        cut = _cut(replace(sources[0], number=1), tokenizer, max_tokens)
        if cut.text:
            packed.append(cut)
    return packed


def _cut(source: Source, tokenizer: Tokenizer, max_tokens: int) -> Source:
    frame = tokenizer.count(render_source(replace(source, text=""))) + 4
    text = cut_text(source.text, tokenizer, max_tokens - frame)
    return replace(source, text=text, anchors=tuple(a for a in source.anchors if a.offset <= len(text)))


def cut_text(text: str, tokenizer: Tokenizer, max_tokens: int) -> str:
    """Return the longest beginning of the text that has at most `max_tokens` tokens, cut at a space if there is one."""
    tokens = tokenizer.encode(text)
    if len(tokens) <= max_tokens:
        return text
    # A cut between the tokens of one character decodes to U+FFFD at the end.
    piece = tokenizer.decode(tokens[: max(max_tokens, 0)]).rstrip("\ufffd")
    if not text.startswith(piece):
        # Tokenizers that normalise do not give the very characters back; keep the offsets true instead.
        piece = text[: len(piece)]
    at = piece.rfind(" ")
    return piece[:at] if at > len(piece) // 2 else piece
