"""DRIFT search: from community reports to follow-up questions, each a local search, to one answer.

GraphRAG's algorithm (primer over the nearest reports, rounds of follow-up questions, a merging answer) as pure parts
with its prompts, so that contexts are built where computing is allowed and calls are waited for elsewhere. It differs
from GraphRAG's on purpose: follow-up questions are taken best-scored parents first, not at random, so that a question
asked again goes the same way; and the answer is written from numbered text units, so that its marks can be checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fileintel.errors import ModelAnswerError
from fileintel.model import ChatRequest, CommunityReport, Message, Source, Stage
from fileintel.protocols import Tokenizer
from fileintel.search.json_answers import read_object, score_of
from fileintel.search.local import LocalContext
from fileintel.search.marks import MarkStream
from fileintel.search.plan import Plan
from fileintel.search.prompts import (
    FINDINGS_SYSTEM,
    answer_messages,
    in_form,
    one_line,
    stage_sources,
    without_data_marks,
    without_marks,
)
from fileintel.search.ranking import cut_text, distinct, pack
from fileintel.search.refusal import is_refusal

_LONGEST_QUERY = 500
_REPORTS_A_FOLD = 4
_LOCAL_FORM = "multiple paragraphs"  # as GraphRAG asks of follow-up answers


def _schema(title: str, text: str) -> Mapping[str, Any]:
    properties = {
        text: {"type": "string"},
        "score": {"type": "integer"},
        "follow_up_queries": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


PRIMER_SCHEMA = _schema("primer", "intermediate_answer")
FINDING_SCHEMA = _schema("finding", "response")


@dataclass(frozen=True, slots=True)
class Finding:
    """An intermediate answer: how well it serves the question (0 to 100), and what to ask next.

    `query` is the follow-up question it answers ("" for the primer's); `unit_ids` are the text units that its marks
    [1], [2], … stand for.
    """

    query: str
    text: str
    score: int
    follow_ups: tuple[str, ...]
    unit_ids: tuple[str, ...] = ()


def expansion_request(question: str, template: CommunityReport, *, model: str) -> ChatRequest:
    """Return the call that writes a hypothetical answer in the form of a report (HyDE), whose embedding lies nearer to
    the reports that answer than the question's own."""
    system = (
        "You write a made-up answer to a question. It is used to search a library of reports and shown to nobody, so "
        "it must sound like such a report, with a title, a summary and findings; whether it is true does not matter. "
        "Name no persons, organisations or places that the question does not name."
    )
    user = f"A report of the library, for its form alone:\n\n{template.full_content}\n\nQuestion: {question.strip()}"
    return ChatRequest(model=model, messages=(Message("system", system), Message("user", user)))


def primer_requests(
    question: str,
    reports: Sequence[CommunityReport],
    *,
    tokenizer: Tokenizer,
    model: str,
    folds: int = 5,
    max_fold_tokens: int = 12_000,
    structured: bool = True,
) -> list[ChatRequest]:
    """Return GraphRAG's primer calls over `reports` (nearest first), in up to `folds` folds of neighbours.

    Each answers the question from its fold, scores that answer and proposes follow-up questions. A report has its
    even share of `max_fold_tokens` at most.
    """
    from graphrag.prompts.query.drift_search_system_prompt import DRIFT_PRIMER_PROMPT

    count = max(1, min(folds, -(-len(reports) // _REPORTS_A_FOLD)))
    size = -(-len(reports) // count)
    requests = []
    for start in range(0, len(reports), size):
        fold = reports[start : start + size]
        room = max_fold_tokens // len(fold)
        contents = [cut_text(without_data_marks(report.full_content), tokenizer, room) for report in fold]
        prompt = DRIFT_PRIMER_PROMPT.format(query=question.strip(), community_reports="\n\n".join(contents))
        shown = [
            {"id": report.community, "title": report.title, "content": content}
            for report, content in zip(fold, contents, strict=True)
        ]
        requests.append(
            ChatRequest(
                model=model,
                messages=(Message("user", prompt),),
                json_schema=PRIMER_SCHEMA if structured else None,
                stage=Stage("drift_primer", {"question": question, "reports": shown}),
            )
        )
    return requests


def parse_primer(answer: str) -> Finding:
    """Return what a primer call found; raises ModelAnswerError when it cannot be read."""
    return _finding(read_object(answer, "primer answer"), "intermediate_answer", "", (), answer)


def follow_up_request(
    question: str, follow_up: str, context: LocalContext, *, follow_ups: int, model: str, structured: bool = True
) -> ChatRequest:
    """Return the call that answers a follow-up question from its local context, by GraphRAG's prompt.

    The context's sources stand in GraphRAG's table of sources, by their numbers.
    """
    from graphrag.prompts.query.drift_search_system_prompt import DRIFT_LOCAL_SYSTEM_PROMPT

    rows = "\n".join(f"{source.number}|{one_line(without_marks(source.text))}" for source in context.sources)
    data = "\n\n".join(part for part in (context.tables, f"-----Sources-----\nid|text\n{rows}") if part)
    system = DRIFT_LOCAL_SYSTEM_PROMPT.format(
        response_type=_LOCAL_FORM, context_data=data, global_query=question.strip(), followups=follow_ups
    )
    return ChatRequest(
        model=model,
        messages=(Message("system", system), Message("user", follow_up)),
        json_schema=FINDING_SCHEMA if structured else None,
        stage=Stage(
            "drift_local",
            {"question": question, "follow_up": follow_up, "sources": stage_sources(context.sources)},
        ),
    )


def parse_finding(answer: str, *, query: str = "", unit_ids: Sequence[str] = ()) -> Finding:
    """Return what a follow-up call found; raises ModelAnswerError when it cannot be read."""
    return _finding(read_object(answer, "follow-up answer"), "response", query, tuple(unit_ids), answer)


def _finding(data: Mapping[str, Any], key: str, query: str, unit_ids: tuple[str, ...], answer: str) -> Finding:
    text, score = data.get(key), score_of(data.get("score"), 100)
    if not isinstance(text, str) or score is None:
        raise ModelAnswerError(f"an intermediate answer has no {key} or no score", raw=answer[:2000])
    proposed = data.get("follow_up_queries")
    follow_ups = [
        one_line(query)[:_LONGEST_QUERY]
        for query in (proposed if isinstance(proposed, list) else ())
        if isinstance(query, str) and query.strip()
    ]
    return Finding(query, text.strip(), score, tuple(follow_ups), unit_ids)


def next_follow_ups(question: str, findings: Sequence[Finding], *, limit: int) -> list[str]:
    """Return up to `limit` follow-up questions not asked yet: of every finding in turn, the best scored first.

    A finding of score 0 serves the question not at all, and neither would what it proposes.
    """
    asked = {_same(question), *(_same(finding.query) for finding in findings)}
    ranked = sorted((finding for finding in findings if finding.score > 0), key=lambda finding: -finding.score)
    chosen: list[str] = []
    for in_turn in zip_longest(*(finding.follow_ups for finding in ranked)):
        for query in in_turn:
            if query is not None and _same(query) not in asked and len(chosen) < limit:
                asked.add(_same(query))
                chosen.append(query)
    return chosen


def _same(query: str) -> str:
    return one_line(query).casefold().rstrip(" ?.!")


def cited_units(findings: Sequence[Finding]) -> list[str]:
    """Return the text units that the findings cite, those of the best scored first; then those they were shown."""
    ranked = sorted((finding for finding in findings if finding.score > 0), key=lambda finding: -finding.score)
    cited = [[finding.unit_ids[number - 1] for number in _numbers(finding)] for finding in ranked]
    shown = [finding.unit_ids for finding in ranked]
    in_turn = [unit for units in (*zip_longest(*cited), *zip_longest(*shown)) for unit in units if unit is not None]
    return list(dict.fromkeys(in_turn))


def plan_drift(
    question: str,
    *,
    findings: Sequence[Finding],
    units: Sequence[Source],
    tokenizer: Tokenizer,
    model: str,
    max_finding_tokens: int = 8_000,
    max_source_tokens: int = 12_000,
    max_sources: int = 40,
    max_words: int = 2000,
    max_answer_tokens: int | None = None,
    response_type: str | None = None,
) -> Plan:
    """Plan the answer that merges the findings, with `units` (best first) as its evidence.

    A finding's marks are rewritten to the numbers of the sources shown; those of others are left out.
    """
    sources = pack(distinct(units), tokenizer=tokenizer, max_tokens=max_source_tokens, max_sources=max_sources)
    number_of = {source.text_unit_id: source.number for source in sources}
    shown: list[dict[str, Any]] = []
    lines: list[str] = []
    left = max_finding_tokens
    for finding in sorted(findings, key=lambda finding: -finding.score):
        if not finding.score or not finding.text or is_refusal(finding.text):
            continue
        text, numbers = _renumbered(finding, number_of)
        asked = f"({one_line(finding.query)}) " if finding.query else ""
        line = f"- score {finding.score}: {asked}{text}"
        left -= tokenizer.count(line)
        if left < 0:
            break
        lines.append(line)
        shown.append({"description": _plain(finding), "score": finding.score, "sources": numbers})
    request = ChatRequest(
        model=model,
        messages=answer_messages(
            in_form(FINDINGS_SYSTEM.format(max_length=max_words), response_type),
            question,
            sources,
            [("findings", "\n".join(lines))],
        ),
        max_tokens=max_answer_tokens,
        # What the extractive model is to do is the same as for the points of a global question.
        stage=Stage("global_reduce", {"question": question, "points": shown, "sources": stage_sources(sources)}),
    )
    note = f"{len(shown)} of {len(findings)} findings, {len(sources)} of {len(units)} text units"
    return Plan("drift", question, tuple(sources), answer_request=request, notes=(note,))


def _read(finding: Finding) -> MarkStream:
    numbered = [Source(n, unit, "", "", "") for n, unit in enumerate(finding.unit_ids, start=1)]
    stream = MarkStream(numbered)
    stream.push(without_data_marks(finding.text) if not numbered else finding.text)
    stream.finish()
    return stream


def _numbers(finding: Finding) -> list[int]:
    return list(dict.fromkeys(mark.number for mark in _read(finding).marks))


def _plain(finding: Finding) -> str:
    stream = _read(finding)
    return one_line(_replaced(stream, {}))


def _renumbered(finding: Finding, number_of: Mapping[str, int]) -> tuple[str, list[int]]:
    """The finding's text with its marks as the final sources are numbered, and these numbers."""
    stream = _read(finding)
    numbers = {n: number_of[unit] for n, unit in enumerate(finding.unit_ids, start=1) if unit in number_of}
    cited = sorted({numbers[mark.number] for mark in stream.marks if mark.number in numbers})
    return one_line(_replaced(stream, numbers)), cited


def _replaced(stream: MarkStream, numbers: Mapping[int, int]) -> str:
    text, end, pieces = stream.text, 0, list[str]()
    for mark in stream.marks:
        piece = text[end : mark.offset]
        number = numbers.get(mark.number)
        pieces += [piece.rstrip(" ") if number is None else piece, "" if number is None else f"[{number}]"]
        end = mark.end
    return "".join([*pieces, text[end:]])
