from __future__ import annotations

import json
import logging
import random
from dataclasses import replace
from unittest.mock import ANY

import pytest

from fileintel.errors import ModelAnswerError, ModelServerError
from fileintel.graph.asking import ASKED_AGAIN
from fileintel.graph.report import community_report
from fileintel.graph.report_json import read_report
from fileintel.model import ChatAnswer, Finding, Stage

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
        f"The entities {{A, B}}:\n{GOOD}",
        f"[{GOOD}]",
        json.dumps({"community_report": WRITTEN}),
        json.dumps({"reports": [WRITTEN]}),
        json.dumps({key.upper().replace("_", " "): value for key, value in WRITTEN.items()}),
        json.dumps({**WRITTEN, "rating": "7"}),
        json.dumps({**WRITTEN, "rating": "7/10"}),
        json.dumps({**WRITTEN, "rating": "3.5 out of 5"}),
        json.dumps({**WRITTEN, "rating": "70 %"}),
        json.dumps({**WRITTEN, "rating": "about 7 (high)"}),
        json.dumps({**WRITTEN, "findings": {"1": WRITTEN["findings"][0]}}),
        json.dumps({**WRITTEN, "findings": {one["summary"]: one["explanation"] for one in WRITTEN["findings"]}}),
        json.dumps({**WRITTEN, "findings": [": ".join(WRITTEN["findings"][0].values())]}),
        GOOD.replace('"explanation"', '"Description"').replace('"summary": "Alice rules"', '"title": "Alice rules"'),
    ],
    ids=[
        *("fenced", "in prose", "after thinking", "trailing comma", "cut end", "bare key", "bare quotes"),
        *("braces in prose", "in a list", "under a key", "in a list under a key", "other case"),
        *("rating as text", "of ten", "of five", "percent", "in words"),
        *("findings by number", "findings by name", "findings as text", "other names"),
    ],
)
def test_what_local_models_break_is_mended(chat, answer):
    assert write(chat(answer)) == write(chat(GOOD))


def test_a_missing_rating_explanation_is_empty(chat):
    missing = {key: value for key, value in WRITTEN.items() if key != "rating_explanation"}
    for given in (missing, {**missing, "rating_explanation": None}):
        assert write(chat(json.dumps(given))) == replace(write(chat(GOOD)), rank_explanation="", id=ANY)


def test_findings_that_cannot_be_read_are_counted(chat):
    findings = [WRITTEN["findings"][0], 7, "", {"data": [1]}, "One heading without more"]
    report = write(chat(json.dumps({**WRITTEN, "findings": findings})))
    assert [finding.summary for finding in report.findings] == ["Alice rules", "One heading without more"]
    assert report.unreadable == 3


def test_a_report_cut_off_at_its_length_is_counted(chat):
    class Short(chat):
        def complete(self, request):
            return replace(super().complete(request), finish_reason="length")

    order = ("title", "summary", "rating", "rating_explanation", "findings")
    cut = json.dumps({key: WRITTEN[key] for key in order})[:-20]
    report = write(Short(cut))
    assert (report.title, report.rank, report.unreadable) == ("The harbour", 7.0, 1)
    assert report.findings[0].summary == "Alice rules"


def test_findings_over_and_over_are_cut_to_their_first_round(chat):
    order = ("title", "summary", "rating", "rating_explanation", "findings")
    text = json.dumps({key: WRITTEN[key] for key in order})
    finding = json.dumps(WRITTEN["findings"][0])
    report = write(chat(text[:-2] + f", {finding}" * 1500))
    assert 1 <= len(report.findings) <= 3
    assert {found.summary for found in report.findings} == {"Alice rules"}


@pytest.mark.parametrize("first", ["", "I would rather talk about the weather.", json.dumps({**WRITTEN, "title": ""})])
def test_an_unusable_report_is_asked_for_once_more(chat, first):
    asked = chat(first, GOOD)
    assert write(asked) == write(chat(GOOD))
    again = asked.requests[1]
    assert [message.role for message in again.messages] == ["user", "assistant", "user"]
    assert again.messages[0] == asked.requests[0].messages[0]
    assert '"rating_explanation": string' in again.messages[2].content
    assert again.json_schema == asked.requests[0].json_schema


def test_the_embedded_model_is_asked_once(chat):
    asked = chat("")
    with pytest.raises(ModelAnswerError):
        write(asked, {"entities": [], "relationships": []})
    assert len(asked.requests) == 1


@pytest.mark.parametrize("start", range(0, 900, 300))
def test_no_answer_breaks_the_reader(start):
    for seed in range(start, start + 300):
        draw = random.Random(seed)
        text = GOOD
        for _ in range(draw.randrange(1, 8)):
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice('{}[]",:\\n\ud83d0') * draw.randrange(3) + text[at + draw.randrange(30) :]
        try:
            report, unreadable = read_report(ChatAnswer(text))
        except ModelAnswerError as error:
            assert error.raw == text
        else:
            assert report.title.strip()
            assert unreadable >= 0
            report.model_dump_json().encode()


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
        write(chat(answer, answer))
    assert raised.value.raw == f"{answer[:9000]}{ASKED_AGAIN}{answer[:9000]}"


@pytest.mark.parametrize("change", [{"title": " "}, {"rating": float("nan")}, {"rating": float("inf")}])
def test_a_report_without_title_or_rating_is_refused_with_what_was_said(chat, change):
    with pytest.raises(ModelAnswerError) as raised:
        write(chat(*[json.dumps({**WRITTEN, **change})] * 2))
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
