"""Questions about the whole collection: points chosen from community reports, and an answer that quotes them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from fileintel.llm.embedded import REFUSAL
from fileintel.llm.embedded.evidence import Source
from fileintel.llm.embedded.language import sentences, shorten, stem, terms, tidy, word_set
from fileintel.llm.embedded.minilm import MiniLM

_POINTS_PER_REPORT = 3
_MAX_POINTS = 6  # in the final answer
_SENTENCES_PER_REPORT = 16
_NEAR = 0.34  # cosine from which a report's sentence bears on a question
_SUPPORT = 0.6  # share of a point's terms that a source's sentence must have
_REFERENCE = re.compile(r"\s*\[Data:[^\]]*\]")
_ABOUT_REPORT = re.compile(r"(?i)(?:rat(?:ing|ed)\b|this community (?:is|revolves|centers|centres)\b)")
_RATING = re.compile(r"\brating\b\D{0,12}(\d+(?:\.\d+)?)", re.IGNORECASE)
# A question made of such words alone asks for an overview: every report bears on it.
_OVERVIEW = frozenset(
    stem(word)
    for word in word_set(
        "main major top key important central theme topic subject overview summary summarise summarize overall general "
        "document collection text corpus dataset data file report content discuss describe about cover talk mention "
        "idea point issue story happen people organisation organization place event actor finding conclusion whole"
    )
)


class Report(BaseModel):
    """A community report as the map stage gets it."""

    id: int | str
    title: str = ""
    content: str


class Point(BaseModel):
    """A point of the map stage: what a report says towards the question, and how much it matters (0-100)."""

    description: str
    score: float = 0.0


def global_map(question: str, reports: Sequence[Report], minilm: MiniLM) -> str:
    """Return GraphRAG's points as JSON; a report that does not bear on the question gives none."""
    asked = frozenset(terms(question)) - _OVERVIEW
    vector = minilm.embed([question])[0]
    points: list[tuple[float, int, int, str]] = []
    for order, report in enumerate(reports):
        found = _spoken_sentences(report)
        if not found:
            continue
        rating = _RATING.search(report.content)
        weight = min(10.0, float(rating.group(1))) if rating else 5.0
        near = minilm.embed(found) @ vector
        for place, (text, cosine) in enumerate(zip(found, near, strict=True)):
            shared = len(asked & frozenset(terms(f"{report.title} {text}"))) / len(asked) if asked else 0.0
            if asked:
                if cosine < _NEAR or shared == 0.0:
                    continue
                score = 55 * float(cosine) + 35 * shared + weight
            else:
                score = 30 + 5 * weight + 20 * float(cosine) - 4 * place
            points.append((-max(1.0, min(100.0, score)), order, place, f"{text} [Data: Reports ({report.id})]"))
    points.sort()
    taken: dict[int, int] = {}
    each = min(_POINTS_PER_REPORT, max(1, _MAX_POINTS // max(1, len(reports))))  # an overview goes round
    chosen: list[dict[str, object]] = []
    for score, order, _, text in points:
        taken[order] = taken.get(order, 0) + 1
        if taken[order] <= (_POINTS_PER_REPORT if asked else each):
            chosen.append({"description": text, "score": round(-score)})
    return json.dumps({"points": chosen}, ensure_ascii=False)


def _spoken_sentences(report: Report) -> list[str]:
    """Return the sentences of a report that say something about its subject, not about the report."""
    found: list[str] = []
    for sentence in sentences(report.content):
        text = tidy(re.sub(r"[*_`]{1,3}", "", _REFERENCE.sub("", sentence.text)))
        if len(text.split()) >= 6 and not sentence.is_heading and not _ABOUT_REPORT.match(text):
            found.append(shorten(text, 500))
    return list(dict.fromkeys(found))[:_SENTENCES_PER_REPORT]


def global_reduce(question: str, points: Sequence[Point], sources: Sequence[Source], minilm: MiniLM) -> str:
    """Quote the best points, each with the marks of the sources that share its wording, or refuse.

    Where sources are given, a point that none of them bears out is left out: an answer that cannot be traced is none.
    """
    support = [(source.number, [frozenset(terms(s.text)) for s in sentences(source.text)]) for source in sources]
    ranked = sorted(enumerate(points), key=lambda pair: (-pair[1].score, pair[0]))
    quoted: list[str] = []
    vectors: list[np.ndarray] = []
    for _, point in ranked:
        text = tidy(_REFERENCE.sub("", point.description))
        if point.score <= 0 or not text or len(quoted) == _MAX_POINTS:
            continue
        marks = _marks(frozenset(terms(text)), support)
        if sources and not marks:
            continue
        vector = minilm.embed([text])[0]
        if any(float(np.dot(vector, other)) > 0.85 for other in vectors):
            continue
        vectors.append(vector)
        quoted.append(" ".join([text, "".join(f"[{number}]" for number in marks)]).strip())
    if not quoted:
        return f"{REFUSAL}: no community report bears on it."
    return " ".join(quoted)


def _marks(point: frozenset[str], support: Sequence[tuple[int, Sequence[frozenset[str]]]]) -> list[int]:
    """Return the numbers of the (at most two) sources that share most of the point's wording in one sentence."""
    shares: list[tuple[float, int]] = []
    for number, bags in support:
        share = max((len(point & bag) / max(1, len(point)) for bag in bags), default=0.0)
        if share >= _SUPPORT:
            shares.append((-share, number))
    return [number for _, number in sorted(shares)[:2]]
