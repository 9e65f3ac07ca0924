"""Questions about the whole collection, first half: what each community report says towards the question."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import BaseModel

from fileintel.llm.embedded.language import sentences, shorten, terms, tidy
from fileintel.llm.embedded.minilm import MiniLM
from fileintel.llm.embedded.overall import focus, spoken

_POINTS_PER_REPORT = 3
_MAX_POINTS = 6  # of all reports together, for an overview
_SENTENCES_PER_REPORT = 16
_MAX_EMBEDDED = 60  # sentences of all reports together, those that share most with the question
_NEAR = 0.34  # cosine from which a report's sentence bears on a question
_ABOUT_REPORT = re.compile(r"(?i)(?:rat(?:ing|ed)\b|this community (?:is|revolves|centers|centres)\b)")
_REFERENCE = re.compile(r"\s*\[Data:[^\]]*\]")
_RATING = re.compile(r"\brating\b\D{0,12}(\d+(?:\.\d+)?)", re.IGNORECASE)


class Report(BaseModel):
    """A community report as the map stage gets it."""

    id: int | str
    title: str = ""
    content: str


def global_map(question: str, reports: Sequence[Report], minilm: MiniLM) -> str:
    """Return GraphRAG's points as JSON; a report that does not bear on the question gives none."""
    asked = focus(question)
    points = _bearing(question, asked, reports, minilm) if asked else _leading(reports)
    points.sort()
    taken: dict[int, int] = {}
    each = _POINTS_PER_REPORT if asked else max(1, min(_POINTS_PER_REPORT, _MAX_POINTS // max(1, len(reports))))
    chosen: list[dict[str, object]] = []
    for score, order, _, text in points:
        taken[order] = taken.get(order, 0) + 1
        if taken[order] <= each:
            chosen.append({"description": f"{text} [Data: Reports ({reports[order].id})]", "score": round(-score)})
    return json.dumps({"points": chosen}, ensure_ascii=False)


_Rated = tuple[float, int, int, str]  # less the score, the report, the place in it, the sentence


def _bearing(question: str, asked: frozenset[str], reports: Sequence[Report], minilm: MiniLM) -> list[_Rated]:
    """Rate the reports' sentences by what they share with the question in words and in meaning."""
    found: list[tuple[float, int, int, str]] = []
    for order, report in enumerate(reports):
        for place, text in enumerate(_sentences(report)):
            shared = len(asked & frozenset(terms(f"{report.title} {text}"))) / len(asked)
            if shared:
                found.append((-shared, order, place, text))
    found = sorted(found)[:_MAX_EMBEDDED]
    if not found:
        return []
    distinct = list(dict.fromkeys(text for *_, text in found))  # neighbouring communities share sentences
    (vector,) = minilm.embed([question])
    near = dict(zip(distinct, (minilm.embed(distinct) @ vector).tolist(), strict=True))
    weights = [_weight(report) for report in reports]
    return [
        (-_bounded(55 * near[text] - 35 * less + weights[order]), order, place, text)
        for less, order, place, text in found
        if near[text] >= _NEAR
    ]


def _leading(reports: Sequence[Report]) -> list[_Rated]:
    """Rate the reports' sentences for an overview: the first of each report, the weightiest report first."""
    return [
        (-_bounded(40 + 5 * _weight(report) - 4 * place), order, place, text)
        for order, report in enumerate(reports)
        for place, text in enumerate(_sentences(report))
    ]


def _weight(report: Report) -> float:
    rating = _RATING.search(report.content)
    return min(10.0, float(rating.group(1))) if rating else 5.0


def _bounded(score: float) -> float:
    return max(1.0, min(100.0, score))


def _sentences(report: Report) -> list[str]:
    """Return the sentences of a report that say something about its subject, not about the report."""
    found: list[str] = []
    for sentence in sentences(report.content):
        text = tidy(re.sub(r"[*_`]{1,3}", "", _REFERENCE.sub("", sentence.text)))
        if spoken(text) and not sentence.is_heading and not _ABOUT_REPORT.match(text):
            found.append(shorten(text, 500))
    return list(dict.fromkeys(found))[:_SENTENCES_PER_REPORT]
