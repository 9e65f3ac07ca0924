"""Summaries by choosing sentences: TextRank over a text's sentences, near-equal ones counted once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fileintel.llm.embedded.language import sentences, shorten, terms, tidy

_MAX_RANKED = 160  # sentences; ranking is quadratic in them
_MAX_WORDS = 120  # an extract longer than this is no summary, whatever the caller allows
_SAME = 0.8  # share of common terms from which two sentences say the same


def summarize_descriptions(name: str | Sequence[str], descriptions: Sequence[str], max_words: int) -> str:
    """Return the description's best sentences, in their order, within `max_words` (and 120) words."""
    subject = [name] if isinstance(name, str) else list(name)
    candidates = distinct([sentence.text for text in descriptions for sentence in sentences(text)])
    chosen = best_sentences(candidates, max_words=min(max_words, _MAX_WORDS), about=subject)
    # Descriptions of stop words and numbers only have no best sentence; a summary is never empty all the same.
    given = next((text for text in descriptions if text.strip()), " and ".join(subject))
    return tidy(" ".join(chosen)) or shorten(tidy(given), 300)


def distinct(texts: Sequence[str]) -> list[str]:
    """Return the texts without those that say what an earlier, at least as long one says; order is kept."""
    kept: list[tuple[str, frozenset[str]]] = []
    for text in texts:
        bag = frozenset(terms(text))
        if not bag:
            continue
        same = next((number for number, (_, other) in enumerate(kept) if _alike(bag, other)), None)
        if same is None:
            kept.append((text, bag))
        elif len(bag) > len(kept[same][1]):
            kept[same] = (text, bag)
    return [text for text, _ in kept]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _SAME * min(len(one), len(other)) and min(len(one), len(other)) > 2 or one == other


def text_rank(texts: Sequence[str]) -> list[float]:
    """Return each sentence's TextRank: PageRank over how many terms two sentences share for their length."""
    import networkx  # here, since it takes half a second that a server which only answers questions need not spend

    bags = [frozenset(terms(text)) for text in texts]
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(texts)))
    for first in range(len(texts)):
        for second in range(first + 1, len(texts)):
            shared = len(bags[first] & bags[second])
            size = math.log(len(bags[first]) + 1) + math.log(len(bags[second]) + 1)
            if shared and size:
                graph.add_edge(first, second, weight=shared / size)
    ranks = networkx.pagerank(graph, alpha=0.85, max_iter=200, tol=1e-8) if texts else {}
    return [ranks[number] * len(texts) for number in range(len(texts))]


def best_sentences(texts: Sequence[str], *, max_words: int, about: Sequence[str] = (), most: int = 6) -> list[str]:
    """Return up to `most` of the sentences by TextRank, in their given order; at least one, shortened to fit.

    Those that name one of `about`, early if possible, go first: a summary of a thing is about the thing.
    """
    texts = list(texts)[:_MAX_RANKED]
    names = [name.casefold() for name in about if name]
    ranked: list[tuple[float, int]] = []
    for number, (text, rank) in enumerate(zip(texts, text_rank(texts), strict=True)):
        places = [text.casefold().find(name) for name in names if name in text.casefold()]
        boost = len(places) / max(1, len(names)) + 0.5 * bool(places and min(places) < 40)
        length = len(text.split())
        fits = 1.0 if 6 <= length <= 45 else 0.5
        ranked.append((-(rank * fits + boost), number))
    chosen: list[int] = []
    used = 0
    for _, number in sorted(ranked):
        length = len(texts[number].split())
        if len(chosen) < most and (used + length <= max_words):
            chosen.append(number)
            used += length
    if not chosen and ranked:
        return [" ".join(texts[sorted(ranked)[0][1]].split()[: max(1, max_words)])]
    return [texts[number] for number in sorted(chosen)]
