"""Global search: a question on the whole collection, put to all community reports in batches and then merged."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fileintel.errors import ModelAnswerError
from fileintel.model import ChatRequest, Community, CommunityReport, Message, Source, Stage
from fileintel.protocols import Tokenizer
from fileintel.search.json_answers import read_json, score_of
from fileintel.search.plan import Plan, Reduce
from fileintel.search.prompts import (
    REDUCE_SYSTEM,
    answer_messages,
    in_form,
    one_line,
    stage_sources,
    without_data_marks,
    without_marks,
)
from fileintel.search.ranking import cut_text, distinct, pack
from fileintel.search.tables import GraphRagTokenizer, SourceMarks, to_reports

# GraphRAG's own seed: the same collection is asked in the same batches, so that answers can be remembered.
_SEED = 86
# GraphRAG's prompts and table header beside a report that fills a batch alone.
_ROW_FRAME = 96
_MOST_CHECKS = 8
_REPORT_IDS = re.compile(r"\[Data:[^\]]*?Reports?\s*\(([^)]*)\)", re.IGNORECASE)

# No bounds on the score: servers that check schemas strictly refuse them, and parse_points clamps it.
POINTS_SCHEMA: Mapping[str, Any] = {
    "title": "points",
    "type": "object",
    "properties": {
        "points": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "description": {"type": "string"},
                    "score": {"type": "integer"},
                },
                "required": ["description", "score"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["points"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Point:
    """A key point of a map answer: `score` from 0 to 100, `reports` the ids it names."""

    description: str
    score: int
    reports: tuple[str, ...]


def plan_global(
    question: str,
    *,
    reports: Sequence[CommunityReport],
    communities: Sequence[Community],
    units: Sequence[Source],
    tokenizer: Tokenizer,
    model: str,
    max_batch_tokens: int = 12_000,
    max_point_tokens: int = 8_000,
    max_source_tokens: int = 8_000,
    max_sources: int = 30,
    map_words: int = 1000,
    reduce_words: int = 2000,
    max_map_tokens: int | None = None,
    max_answer_tokens: int | None = None,
    structured: bool = True,
    response_type: str | None = None,
) -> Plan:
    """Plan an answer from all `reports` (of one level, or chosen) with text units as evidence.

    `units` are the communities' text units and the hits of basic search, each with its score for the question, in any
    order. Each map request holds reports of at most `max_batch_tokens`; `structured` asks the server for JSON by
    schema as well as by prompt.
    """
    batches = _batches(reports, communities, tokenizer, max_batch_tokens)
    sources = pack(
        distinct(_ranked(reports, communities, units)),
        tokenizer=tokenizer,
        max_tokens=max_source_tokens,
        max_sources=max_sources,
    )
    marks = SourceMarks(sources)
    report_sources = {
        str(community.number): numbers
        for community in communities
        if (numbers := tuple(marks.numbers(community.text_unit_ids)))
    }
    by_number = {str(report.community): report for report in reports}
    map_requests = tuple(
        _map_request(question, batch, [by_number[n] for n in ids], model, map_words, max_map_tokens, structured)
        for batch, ids in batches
    )
    return Plan(
        "global",
        question,
        tuple(sources),
        map_requests=map_requests,
        reduce=Reduce(model, max_point_tokens, reduce_words, max_answer_tokens, report_sources, response_type),
        notes=(f"{len(reports)} reports in {len(map_requests)} batches, {len(sources)} of {len(units)} text units",),
    )


def _batches(
    reports: Sequence[CommunityReport],
    communities: Sequence[Community],
    tokenizer: Tokenizer,
    max_tokens: int,
) -> list[tuple[str, list[str]]]:
    """GraphRAG's batches of reports, each with the community numbers in it, most text units first within a batch."""
    from graphrag.data_model.entity import Entity as GraphRagEntity
    from graphrag.query.context_builder.community_context import build_community_context

    shuffled = sorted(reports, key=lambda report: report.community)
    # Shuffled here and not by GraphRAG, which seeds the whole process's generator for it.
    random.Random(_SEED).shuffle(shuffled)
    contents = {}
    for report in shuffled:
        room = max(max_tokens - _ROW_FRAME - tokenizer.count(report.title), 0)
        if tokenizer.count(report.full_content) > room:
            # GraphRAG would send it whole, over the limit.
            contents[report.id] = cut_text(report.full_content, tokenizer, room)
    asked = {report.community for report in reports}
    # GraphRAG weighs a community by the text units of its entities; ours knows its text units, so one stands for all.
    weights = [
        GraphRagEntity(
            id=community.id,
            short_id=None,
            title=community.title,
            community_ids=[str(community.number)],
            text_unit_ids=list(community.text_unit_ids),
        )
        for community in communities
        if community.number in asked and community.text_unit_ids
    ]
    texts, _ = build_community_context(
        community_reports=to_reports(shuffled, contents=contents),
        entities=weights or None,
        tokenizer=GraphRagTokenizer(tokenizer),  # type: ignore[arg-type]  # duck-typed, so that nothing is imported early
        use_community_summary=False,
        shuffle_data=False,
        include_community_rank=True,
        include_community_weight=bool(weights),
        max_context_tokens=max_tokens,
        single_batch=False,
    )
    batches = [texts] if isinstance(texts, str) else texts
    return [(text, [row[0] for row in csv.reader(io.StringIO(text), delimiter="|")][1:]) for text in batches]


def _map_request(
    question: str,
    table: str,
    reports: Sequence[CommunityReport],
    model: str,
    words: int,
    max_answer_tokens: int | None,
    structured: bool,
) -> ChatRequest:
    from graphrag.prompts.query.global_search_map_system_prompt import MAP_SYSTEM_PROMPT

    return ChatRequest(
        model=model,
        messages=(
            Message("system", MAP_SYSTEM_PROMPT.format(context_data=table, max_length=words)),
            Message("user", question.strip()),
        ),
        max_tokens=max_answer_tokens,
        json_schema=POINTS_SCHEMA if structured else None,
        stage=Stage(
            "global_map",
            {
                "question": question,
                "reports": [
                    {"id": report.community, "title": report.title, "content": report.full_content}
                    for report in reports
                ],
            },
        ),
    )


def _ranked(
    reports: Sequence[CommunityReport], communities: Sequence[Community], units: Sequence[Source]
) -> list[Source]:
    """The units by score, in alternation with the best of each community in turn, so that every part of the collection
    that has a report can be cited."""
    by_score = sorted(units, key=lambda unit: -unit.score)
    text_units_of = {community.number: frozenset(community.text_unit_ids) for community in communities}
    ordered = sorted(reports, key=lambda report: (-report.rank, report.community))
    held = [[u for u in by_score if u.text_unit_id in text_units_of.get(r.community, ())] for r in ordered]
    in_turn: dict[str, Source] = {}
    for place in range(max((len(units_of) for units_of in held), default=0)):
        for units_of in held:
            if place < len(units_of):
                in_turn.setdefault(units_of[place].text_unit_id, units_of[place])
    ranked: dict[str, Source] = {}
    for pair in zip_longest(in_turn.values(), by_score):
        for unit in pair:
            if unit is not None:
                ranked.setdefault(unit.text_unit_id, unit)
    return list(ranked.values())


def parse_points(answer: str) -> list[Point]:
    """Return the points of a map answer, in its order, those of score 0 included.

    Reads JSON inside fences, prose or reasoning, and JSON slightly broken or cut off; raises ModelAnswerError when
    there are no points in it to be found. `{"points": []}` is an answer: nothing relevant.
    """
    data = read_json(answer, "map answer")
    found = data.get("points") if isinstance(data, dict) else data
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise ModelAnswerError("the map answer holds no list of points", raw=answer[:2000])
    points = [point for entry in found if (point := _point(entry)) is not None]
    if found and not points:
        raise ModelAnswerError("no point of the map answer has a description and a score", raw=answer[:2000])
    return points


def _point(entry: object) -> Point | None:
    if not isinstance(entry, dict):
        return None
    description = entry.get("description")
    score = score_of(entry.get("score"), 100)
    if score is None or not isinstance(description, str) or not description.strip():
        return None
    reports = tuple(
        dict.fromkeys(number for ids in _REPORT_IDS.findall(description) for number in re.findall(r"\d+", ids))
    )
    return Point(one_line(description), score, reports)


def reduce_request(plan: Plan, reduce: Reduce, map_answers: Sequence[str]) -> ChatRequest:
    """Return the call that merges the map answers' points; raises ModelAnswerError if an answer cannot be read.

    With no point above 0 the sources alone are asked, so a fact that stands in a text unit only is not lost.
    """
    points = [point for answer in map_answers for point in parse_points(answer) if point.score > 0]
    points.sort(key=lambda point: -point.score)
    shown: list[dict[str, Any]] = []
    left = reduce.max_point_tokens
    for point in points:
        checks = sorted({n for report in point.reports for n in reduce.report_sources.get(report, ())})[:_MOST_CHECKS]
        entry = {
            "description": without_marks(without_data_marks(point.description)).strip(),
            "score": point.score,
            "sources": checks,
        }
        left -= _tokens_at_most(_render_point(entry))
        if left < 0:
            break
        shown.append(entry)
    system = in_form(REDUCE_SYSTEM.format(max_length=reduce.max_words), reduce.response_type)
    background = [("key_points", "\n".join(_render_point(entry) for entry in shown))]
    return ChatRequest(
        model=reduce.model,
        messages=answer_messages(system, plan.question, plan.sources, background),
        max_tokens=reduce.max_answer_tokens,
        stage=Stage(
            "global_reduce",
            {"question": plan.question, "points": shown, "sources": stage_sources(plan.sources)},
        ),
    )


def _render_point(entry: Mapping[str, Any]) -> str:
    checks = f" (check: {', '.join(str(number) for number in entry['sources'])})" if entry["sources"] else ""
    return f"- importance {entry['score']}: {entry['description']}{checks}"


def _tokens_at_most(text: str) -> int:
    """A bound on the text's tokens without a tokenizer, which would hold up the gevent hub this runs on.

    Three bytes a token: English has four and more, CJK text about three.
    """
    return len(text.encode("utf-8", "surrogatepass")) // 3 + 1
