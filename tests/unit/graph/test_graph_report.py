from __future__ import annotations

import json
import logging

import pytest

from fileintel.errors import ModelAnswerError, ModelServerError
from fileintel.graph.report import community_report
from fileintel.model import Finding, Stage

WRITTEN = {
    "title": "The harbour",
    "summary": "Who runs it: Alice, {mostly}.",
    "findings": [{"summary": "Alice rules", "explanation": 'She says "no" [Data: Entities (1, 2)].'}],
    "rating": 7,
    "rating_explanation": "It matters.",
}
GOOD = json.dumps(WRITTEN, indent=1)


def write(chat, stage_inputs=None):
    return community_report(3, 1, "the context", chat=chat, model="m", max_length=200, stage_inputs=stage_inputs)


def test_a_report_is_read_whole(chat):
    asked = chat(GOOD)
    report = write(asked)
    assert (report.community, report.level, report.title, report.rank) == (3, 1, "The harbour", 7.0)
    assert (report.summary, report.rank_explanation) == (WRITTEN["summary"], "It matters.")
    assert report.findings == (Finding("Alice rules", 'She says "no" [Data: Entities (1, 2)].'),)
    assert report.full_content == (
        '# The harbour\n\nWho runs it: Alice, {mostly}.\n\n## Alice rules\n\nShe says "no" [Data: Entities (1, 2)].'
    )
    (request,) = asked.requests
    assert set(request.json_schema["required"]) == set(WRITTEN)
    assert "the context" in request.messages[0].content
    assert report.id == write(chat(GOOD)).id


@pytest.mark.parametrize(
    "answer",
    [
        f"```json\n{GOOD}\n```",
        f"Sure! Here is the report:\n```json\n{GOOD}\n```\nI hope {{this}} helps.",
        f"<think>Entities {{A, B}}, hm.</think>\n{GOOD}",
        GOOD.replace("}\n ]", "},\n ]"),
        GOOD.removesuffix("\n}"),
        GOOD.replace('"rating"', "rating"),
        GOOD.replace('\\"no\\"', '"no"'),
    ],
    ids=["fenced", "in prose", "after thinking", "trailing comma", "cut end", "bare key", "bare quotes"],
)
def test_what_local_models_break_is_mended(chat, answer):
    assert write(chat(answer)) == write(chat(GOOD))


def test_half_a_surrogate_pair_does_not_reach_the_database(chat):
    report = write(chat(GOOD.replace("The harbour", "The harbour \\ud83d")))
    assert report.title == "The harbour ?"


@pytest.mark.parametrize(
    "answer",
    [
        "I would rather talk about the weather.",
        "",
        "[]",
        "null",
        "{" * 5000,
        GOOD[:-100] + "{" * 5000,
        GOOD[:-100] + "[0," * 5000,
        json.dumps({**WRITTEN, "rating": "high"}),
        json.dumps({**WRITTEN, "findings": "none"}),
        json.dumps({key: value for key, value in WRITTEN.items() if key != "findings"}),
    ],
)
def test_an_unreadable_answer_is_refused_with_what_was_said(chat, answer):
    with pytest.raises(ModelAnswerError, match="not the JSON") as raised:
        write(chat(answer))
    assert raised.value.raw == answer


@pytest.mark.parametrize("change", [{"title": " "}, {"rating": float("nan")}, {"rating": float("inf")}])
def test_a_report_without_title_or_rating_is_refused_with_what_was_said(chat, change):
    with pytest.raises(ModelAnswerError) as raised:
        write(chat(json.dumps({**WRITTEN, **change})))
    assert "Alice rules" in raised.value.raw


@pytest.mark.parametrize("error", [ModelServerError("busy"), RuntimeError("a bug")])
def test_errors_of_the_chat_model_are_raised_and_not_logged(chat, error, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(type(error)) as raised:
        write(chat(error))
    assert raised.value is error
    assert not caplog.records


def test_staged_sends_the_rows_and_the_length(chat):
    asked = chat(GOOD, GOOD)
    write(asked, {"entities": [{"title": "A"}], "relationships": []})
    write(asked)
    inputs = {"entities": [{"title": "A"}], "relationships": [], "max_length": 200}
    assert asked.requests[0].stage == Stage("community_report", inputs)
    assert asked.requests[1].stage is None
