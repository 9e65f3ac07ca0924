"""Reading a community report: the JSON that GraphRAG's form asks for, and what models make of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import json_repair
from pydantic import ValidationError

from fileintel.graph.answers import MOST_CHARACTERS, spoken, without_repetition
from fileintel.graph.asking import UnusableError
from fileintel.model import ChatAnswer

if TYPE_CHECKING:
    from graphrag.index.operations.summarize_communities.community_reports_extractor import CommunityReportResponse

FORM = (
    'Answer with one JSON object and nothing else: {"title": string, "summary": string, "rating": number from 0 to 10,'
    ' "rating_explanation": string, "findings": [{"summary": string, "explanation": string}, …]}.'
)
# json_repair takes a quarter of a second over two thousand of them, for which the gevent hub cannot wait.
_LOST_IN_BRACKETS = re.compile(r"(?:[\[{]\s*){30}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_OUT_OF = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/|out of)\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*%")
_SENTENCE = re.compile(r"(?:[.!?:](?=\s)|\n)\s*")
_LONGEST_HEADING = 200


def read_report(answer: ChatAnswer) -> tuple[CommunityReportResponse, int]:
    """Read a report; beside it, how many of its findings cannot be read (the one cut off among them).

    Mended are thinking and prose around it, fences, commas, quotes, cut ends, endless repetition, an object in a list
    or under a key, keys in other case, findings as strings or under names, "8/10", a missing rating_explanation.
    Raises UnusableError when there is no title, summary, number for a rating or list of findings.
    """
    from graphrag.index.operations.summarize_communities.community_reports_extractor import CommunityReportResponse

    content, unreadable = answer.content, int(answer.finish_reason == "length")
    try:
        report = CommunityReportResponse.model_validate_json(content)
    except ValidationError:
        for value in _reports(content):
            fields, lost = _as_form(value)
            try:
                # Half of a surrogate pair is no text.
                report = CommunityReportResponse.model_validate_json(
                    json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
                )
            except ValidationError:
                continue
            unreadable += lost
            break
        else:
            raise UnusableError(
                "the model's answer is not the JSON that a community report asks for",
                raw=content,
                correction=f"Your answer cannot be read as a report. {FORM}",
            ) from None
    if not report.title.strip():
        message = "the model's report has no title"
        raise UnusableError(message, raw=content, correction=f"Your report has no title. {FORM}")
    if not math.isfinite(report.rating):
        message = "the rating of the model's report is no number"
        raise UnusableError(message, raw=content, correction=f"Your rating is no number. {FORM}")
    return report, unreadable


def _reports(content: str) -> list[Mapping[str, Any]]:
    """Whatever in an answer may be the report, as JSON values with their keys in lower case."""
    text = without_repetition(spoken(content[:MOST_CHARACTERS]))
    lowered = text.lower()
    # Mending takes long for what was never meant as this form, and no mending adds a field.
    if "title" not in lowered or "findings" not in lowered or _LOST_IN_BRACKETS.search(text):
        return []
    try:
        found = json_repair.loads(text[text.index("{") :] if "{" in text else text)
    except (RecursionError, ValueError):
        return []
    # The longest first: prose around the report may hold braces too.
    return sorted(_objects(found, depth=3), key=len, reverse=True)


def _objects(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects that have a title and findings, also those in lists and under keys."""
    if isinstance(value, dict):
        keyed = {re.sub(r"[\s-]+", "_", str(key).strip().lower()): one for key, one in value.items()}
        if "title" in keyed and "findings" in keyed:
            yield keyed
        elif depth:
            for one in value.values():
                yield from _objects(one, depth - 1)
    elif isinstance(value, list) and depth:
        for one in value:
            yield from _objects(one, depth - 1)


def _as_form(value: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """A report's fields in GraphRAG's types where they can be told, and how many findings cannot be read."""
    fields = {name: value.get(name) for name in ("title", "summary", "rating_explanation")}
    if not isinstance(fields["rating_explanation"], str):
        fields["rating_explanation"] = ""
    rating = value.get("rating")
    fields["rating"] = _rating(rating) if isinstance(rating, str) else rating
    findings = value.get("findings")
    if isinstance(findings, dict):
        findings = [
            one if isinstance(one, dict) else {"summary": name, "explanation": one} for name, one in findings.items()
        ]
    if not isinstance(findings, list):
        return fields, 0
    read = [finding for one in findings if (finding := _finding(one)) is not None]
    return {**fields, "findings": read}, len(findings) - len(read)


def _rating(text: str) -> float | None:
    part = _OUT_OF.search(text)
    if part is not None and part[3] is not None:
        return float(part[3]) / 10
    if part is not None and float(part[2]) > 0:
        return 10 * float(part[1]) / float(part[2])
    number = _NUMBER.search(text)
    return None if number is None else float(number[0])


def _finding(value: Any) -> dict[str, str] | None:
    if isinstance(value, str):
        text = value.strip()
        head = _SENTENCE.split(text, maxsplit=1)
        if not text:
            return None
        if len(head) == 2 and head[1] and len(head[0]) <= _LONGEST_HEADING:
            return {"summary": head[0].strip("*#- "), "explanation": head[1]}
        return {"summary": text, "explanation": ""}
    if not isinstance(value, dict):
        return None
    keyed = {str(key).strip().lower(): one.strip() for key, one in value.items() if isinstance(one, str)}
    summary = next((keyed[name] for name in ("summary", "title", "finding", "name") if keyed.get(name)), "")
    about = ("explanation", "description", "details", "text")
    explanation = next((keyed[name] for name in about if keyed.get(name)), "")
    return {"summary": summary, "explanation": explanation} if summary or explanation else None
