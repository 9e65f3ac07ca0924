"""DRIFT search's parts: primer, follow-up questions, the merging answer."""

from __future__ import annotations

import json

import pytest

from fileintel.errors import ModelAnswerError
from fileintel.model import CommunityReport, Source
from fileintel.search import Plan, final_request
from fileintel.search.drift import (
    Finding,
    cited_units,
    expansion_request,
    follow_up_request,
    next_follow_ups,
    parse_finding,
    parse_primer,
    plan_drift,
    primer_requests,
)
from fileintel.search.local import LocalContext

QUESTION = "How did the {dispute} end?"


def report(n: int, content: str = "") -> CommunityReport:
    text = content or f"# Report {n}\n\nIt tells of {n} [Data: Entities ({n})]."
    return CommunityReport(f"rep{n}", n, 1, f"Report {n}", f"Summary {n}", text, 5.0, "why", ())


def unit(n: int) -> Source:
    return Source(0, f"u{n}", "d1", "file.pdf", f"Unit {n} says " + " ".join(f"w{n}x{i}" for i in range(30)))


def test_the_expansion_takes_the_report_as_its_form():
    system, user = expansion_request(QUESTION, report(3), model="m").messages
    assert "Report 3" in user.content and user.content.endswith(QUESTION) and "made-up" in system.content


@pytest.mark.parametrize(("reports", "folds"), [(1, 1), (4, 1), (5, 2), (20, 5), (23, 5), (60, 5)])
def test_every_report_is_in_one_fold_of_neighbours(tokenizer, reports, folds):
    requests = primer_requests(QUESTION, [report(n) for n in range(reports)], tokenizer=tokenizer, model="m")
    assert len(requests) == folds
    shown = [entry["id"] for request in requests for entry in request.stage.inputs["reports"]]
    assert shown == list(range(reports))
    for request in requests:
        (message,) = request.messages
        assert QUESTION in message.content and "[Data:" not in message.content and request.json_schema is not None
        assert all(f"# Report {entry['id']}\n" in message.content for entry in request.stage.inputs["reports"])


def test_a_fold_keeps_to_its_tokens(tokenizer):
    reports = [report(n, f"# R{n} " + "long " * 9000) for n in range(4)]
    (request,) = primer_requests(QUESTION, reports, tokenizer=tokenizer, model="m", max_fold_tokens=400)
    assert tokenizer.count(request.messages[0].content) < 900 and "# R3" in request.messages[0].content


def test_reading_intermediate_answers():
    primer = parse_primer(
        '```json\n{"intermediate_answer": "A", "score": "81%", "follow_up_queries": ["b\\n c", 5]}\n```'
    )
    assert primer == Finding("", "A", 81, ("b c",))
    finding = parse_finding('{"response": "R", "score": 300}', query="q", unit_ids=["u1"])
    assert finding == Finding("q", "R", 100, (), ("u1",))


@pytest.mark.parametrize("answer", ["", "no", "[]", '{"response": "R"}', '{"score": 5}', '{"response": 3, "score": 5}'])
def test_intermediate_answers_that_are_none(answer):
    with pytest.raises(ModelAnswerError):
        parse_finding(answer)


def test_a_follow_up_is_asked_with_its_sources_in_graphrags_table(tokenizer):
    sources = (Source(1, "u1", "d", "f.pdf", "One [3]\nline"), Source(2, "u2", "d", "f.pdf", "Two"))
    request = follow_up_request(
        QUESTION, "And then?", LocalContext("-----Entities-----\nid|entity", sources, 2), follow_ups=7, model="m"
    )
    system, user = request.messages
    assert user.content == "And then?" and QUESTION in system.content and "up to 7 follow-up" in system.content
    assert "-----Entities-----\nid|entity\n\n-----Sources-----\nid|text\n1|One (3) line\n2|Two\n" in system.content
    assert request.stage.name == "drift_local" and len(request.stage.inputs["sources"]) == 2


def test_follow_ups_are_taken_in_turn_best_first_and_never_twice():
    findings = [
        Finding("", "p", 50, ("a?", "b?", "C", "d?")),
        Finding("a?", "x", 90, ("e?", "c?", "f?"), ("u1",)),
        Finding("z?", "y", 0, ("never?",)),
    ]
    assert next_follow_ups("d", findings, limit=10) == ["e?", "c?", "b?", "f?"]
    assert next_follow_ups("d", findings, limit=2) == ["e?", "c?"]
    assert next_follow_ups("d", [], limit=2) == []


def test_the_answer_rests_on_what_the_findings_cite(tokenizer):
    findings = [
        Finding("", "From reports [Data: Reports (4)].", 40, ()),
        Finding("a?", "It fell [Data: Sources (2, 9)]. Then [1].", 70, (), ("u1", "u2", "u3")),
        Finding("b?", "Rain [2].", 90, (), ("u4", "u5")),
        Finding("c?", "Nothing [1]", 0, (), ("u8",)),
        Finding("d?", "I cannot answer this from the documents: no.", 10, ("more?",), ("u9",)),
    ]
    cited = cited_units(findings)
    assert cited[:3] == ["u5", "u2", "u1"] and set(cited) == {"u1", "u2", "u3", "u4", "u5", "u9"}
    units = [unit(n) for n in (5, 2, 7)]
    plan = plan_drift(QUESTION, findings=findings, units=units, tokenizer=tokenizer, model="m", response_type="A haiku")
    request = final_request(plan)
    system, user = request.messages
    assert plan.mode == "drift" and [source.text_unit_id for source in plan.sources] == ["u5", "u2", "u7"]
    assert "A haiku" in system.content and "2000 words" in system.content
    findings_shown = user.content.split("<findings>\n")[1].split("\n</findings>")[0].splitlines()
    # u1 is no source of the final prompt, so its mark is gone; the others are numbered as there.
    assert findings_shown == [
        "- score 90: (b?) Rain [1].",
        "- score 70: (a?) It fell [2]. Then.",
        "- score 40: From reports.",
    ]
    points = request.stage.inputs["points"]
    assert [(p["description"], p["score"], p["sources"]) for p in points] == [
        ("Rain.", 90, [1]),
        ("It fell. Then.", 70, [2]),
        ("From reports.", 40, []),
    ]
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_findings_keep_to_their_budget_and_may_be_none(tokenizer):
    findings = [Finding(f"q{n}?", "pad " * 100, n, ()) for n in range(1, 50)]
    plan = plan_drift(
        QUESTION, findings=findings, units=[unit(1)], tokenizer=tokenizer, model="m", max_finding_tokens=500
    )
    assert [p["score"] for p in final_request(plan).stage.inputs["points"]] == [49, 48, 47, 46]
    bare = plan_drift(QUESTION, findings=[], units=[unit(1)], tokenizer=tokenizer, model="m")
    assert bare.answerable and "<findings>" not in final_request(bare).messages[1].content
    assert not plan_drift(QUESTION, findings=[], units=[], tokenizer=tokenizer, model="m").answerable
