"""What the extractive model has in place of an LLM's judgement between a question's rounds: sentences that bear on it.

It proposes follow-up questions as it writes everything else, from what is there: the question beside the name of a
report that bears on it, which leads the search to the entities of that report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from fileintel.llm.embedded import REFUSAL
from fileintel.llm.embedded.answer import answer
from fileintel.llm.embedded.evidence import Source
from fileintel.llm.embedded.language import Reader
from fileintel.llm.embedded.minilm import MiniLM
from fileintel.llm.embedded.overall import focus
from fileintel.llm.embedded.themes import Report, global_map

_RATINGS = 5
_FOLLOW_UPS = 1  # of each fold of reports: reading the sources of one takes a second
_FOUND = 60  # the score of a follow-up that found an answer: it has one or it has none
_REPORT_OF = re.compile(r"\[Data: Reports \((\d+)\)\]")
_REFERENCE = re.compile(r"\s*\[Data:[^\]]*\]")


def rate_report(question: str, report: Report, minilm: MiniLM) -> str:
    """Rate from 0 to 5 how well a report serves a question: by its best sentence, an overview needs every report."""
    points = json.loads(global_map(question, [report], minilm))["points"]
    best = max((point["score"] for point in points), default=0)
    rating = _RATINGS if not focus(question) else min(_RATINGS, -(-best * _RATINGS // 100))
    reason = _REFERENCE.sub("", points[0]["description"]) if points else "no sentence of the report bears on it"
    return json.dumps({"reason": reason, "rating": rating}, ensure_ascii=False)


def drift_primer(question: str, reports: Sequence[Report], minilm: MiniLM) -> str:
    """Answer from reports by their sentences, and propose to look closer at the report that bears on it most."""
    points = json.loads(global_map(question, reports, minilm))["points"]
    titles = {str(report.id): report.title for report in reports}
    bearing = dict.fromkeys(number for point in points for number in _REPORT_OF.findall(point["description"]))
    return json.dumps(
        {
            "intermediate_answer": " ".join(_REFERENCE.sub("", point["description"]) for point in points),
            "score": max((point["score"] for point in points), default=0),
            "follow_up_queries": [f"{question.strip()} {titles[number]}" for number in bearing][:_FOLLOW_UPS],
        },
        ensure_ascii=False,
    )


def drift_local(question: str, sources: Sequence[Source], reader: Reader, minilm: MiniLM) -> str:
    """Quote what the sources found by a follow-up question say to the question itself."""
    said = answer(question, sources, reader, minilm)
    score = 0 if said.startswith(REFUSAL) else _FOUND
    return json.dumps({"response": said, "score": score, "follow_up_queries": []}, ensure_ascii=False)
