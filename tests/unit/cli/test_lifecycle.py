"""Estimates, confirmations, budgets, checks, exports: what the command line shows and how it ends."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fileintel.cli import output

from .conftest import AT, RUN, Answers, Outcome, document, page, problem, progress_of

Run = Callable[..., Outcome]
STEP = {
    "step": "extract_graph", "calls": 1352, "remembered": 42, "to_make": 1310, "tokens_in": 744000,
    "tokens_out": 155000, "exact": True, "basis": "the prompts of the documents as they are",
}  # fmt: skip
ESTIMATE = {
    **{name: STEP[name] for name in ("calls", "remembered", "to_make", "tokens_in", "tokens_out")},
    "steps": [STEP], "cost": 1.355, "seconds": 75.0, "chat_model": "qwen", "documents_unread": 2,
    "rate": {"calls_per_second": 17.5, "basis": "measured in the last 2 completed builds"},
}  # fmt: skip
ESTIMATED = "POST /collections/minutes/estimate"
START = "POST /collections/minutes/index-runs"


def job(state: str = "complete", result: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "j1", "collection_id": "c1", "kind": "estimate", "parameters": {}, "state": state, "result": result,
        "error_code": None, "error": None, "created_at": AT, "finished_at": None, **more,
    }  # fmt: skip


def test_an_estimate_is_waited_for_and_shown(run: Run, answers: Answers) -> None:
    answers.canned |= {
        ESTIMATED: httpx.Response(202, json=job("queued")),
        "GET /jobs/j1": [job("working"), job(result=ESTIMATE)],
    }
    shown = run("graphrag", "estimate", "minutes")
    assert shown.code == 0, shown.err
    for words in ("1,352", "1,310", "744,000", "exact", "about 1.3", "1 min 15 s", "17.5", "2 documents"):
        assert words in shown.out, words
    answers.canned[ESTIMATED] = job(result=ESTIMATE)
    assert run("graphrag", "estimate", "minutes", "--json").json == ESTIMATE


def test_what_an_estimate_does_not_know_it_says(run: Run, answers: Answers) -> None:
    answers.canned[ESTIMATED] = job(result={**ESTIMATE, "cost": None, "seconds": None, "rate": None})
    shown = run("graphrag", "estimate", "minutes").out
    assert "cost  unknown: set FILEINTEL_PRICE_INPUT" in shown and "time  unknown" in shown
    answers.canned[ESTIMATED] = job("failed", error="no prompt", error_code="internal")
    failed = run("graphrag", "estimate", "minutes")
    assert failed.code == 1 and "no prompt" in failed.err


def asking(request: httpx.Request) -> httpx.Response:
    if request.content and json.loads(request.content).get("confirmed"):
        return httpx.Response(202, json=RUN)
    refusal = problem(409, "confirm this build first: about 1,310 LLM calls are to be made")
    body = {**refusal.json(), "type": "urn:fileintel:confirmation-needed", "estimate": ESTIMATE}
    return httpx.Response(409, json=body, headers={"Content-Type": "application/problem+json"})


def test_without_a_terminal_a_confirmation_is_exit_2_and_names_the_cure(run: Run, answers: Answers) -> None:
    answers.canned[START] = asking
    outcome = run("graphrag", "index", "minutes")
    assert outcome.code == 2 and "confirm this build first" in outcome.err
    assert run("graphrag", "index", "minutes", "--yes").code == 0
    assert json.loads(answers.asked[-1].content) == {"confirmed": True}


@pytest.mark.parametrize(("said", "code", "asked"), [("y\n", 0, 2), ("n\n", 1, 1)])
def test_a_person_is_shown_the_estimate_and_asked(
    run: Run, answers: Answers, monkeypatch: pytest.MonkeyPatch, said: str, code: int, asked: int
) -> None:
    answers.canned[START] = asking
    monkeypatch.setattr(output, "at_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    outcome = run("graphrag", "rebuild", "minutes", "--fresh")
    assert outcome.code == code and "1,310" in outcome.err and "build all the same?" in outcome.err
    assert len(answers.asked) == asked
    if code == 0:
        assert json.loads(answers.asked[-1].content) == {"recluster": True, "confirmed": True}


def test_budgets_go_with_the_request(run: Run, answers: Answers) -> None:
    answers.canned |= {
        START: httpx.Response(202, json=RUN),
        "GET /collections/minutes/index-runs": page({**RUN, "state": "failed"}),
        "POST /index-runs/7/retry": httpx.Response(202, json=RUN),
    }
    assert run("graphrag", "index", "minutes", "--budget", "25", "--budget-cost", "1.5").code == 0
    assert json.loads(answers.asked[-1].content) == {"budget_calls": 25, "budget_cost": 1.5}
    assert run("graphrag", "retry", "minutes", "--budget", "50").code == 0
    assert json.loads(answers.asked[-1].content) == {"budget_calls": 50}
    assert run("graphrag", "retry", "minutes").code == 0 and answers.asked[-1].content in (b"", b"null")
    assert run("graphrag", "index", "minutes", "--budget", "-1").code == 2


def test_status_shows_why_items_are_tried_again(run: Run, answers: Answers) -> None:
    retrying = [{"step": "extract_graph", "key": "u", "attempts": 3, "error": "HTTP 500"}]
    answers.canned |= {
        "GET /collections/minutes/index-runs": page(RUN),
        "GET /index-runs/7": progress_of(retrying=retrying),
        "GET /collections/minutes/graph": {"version": 6, "counts": {}},
    }
    assert "HTTP 500" in run("graphrag", "status", "minutes").out


CHECK = {
    "complete": True, "version": 7, "run": 7, "failures": [],
    "checks": [{"name": "entities described", "total": 9, "missing": 0, "examples": []}],
}  # fmt: skip


def test_a_check_ends_with_1_when_anything_is_missing(run: Run, answers: Answers) -> None:
    where = "GET /collections/minutes/check"
    answers.canned[where] = CHECK
    assert run("graphrag", "check", "minutes").code == 0
    missing = {"name": "entities described", "total": 9, "missing": 2, "examples": ["A", "B"]}
    answers.canned[where] = {**CHECK, "complete": False, "checks": [missing]}
    outcome = run("graphrag", "check", "minutes", "--full")
    assert outcome.code == 1 and "2 of 9 entities described" in outcome.err and "\n  A\n  B\n" in outcome.out
    assert answers.asked[-1].url.params["full"] == "true"
    failure = {"step": "merge", "key": "all", "attempts": 5, "error": "no", "raw_answer": "the raw\nanswer"}
    answers.canned[where] = {**CHECK, "complete": False, "failures": [failure]}
    outcome = run("graphrag", "check", "minutes")
    assert outcome.code == 1 and "the raw\nanswer" in outcome.out and "retry minutes" in outcome.err
    answers.canned[where] = {**CHECK, "complete": False, "version": None, "checks": []}
    assert "no published graph" in run("graphrag", "check", "minutes").err
    assert run("graphrag", "check", "minutes", "--json").json["version"] is None


def archive(**files: str) -> httpx.Response:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writing:
        for name, text in files.items():
            writing.writestr(name.replace("__", "/"), text)
    return httpx.Response(200, content=packed.getvalue(), headers={"Content-Type": "application/zip"})


def test_an_export_is_unpacked_into_a_new_folder(run: Run, answers: Answers, tmp_path: Path) -> None:
    result = {"version": 7, "files": ["index.md", "communities/0.md"], "format": "markdown", "bytes": 9}
    answers.canned |= {
        "POST /collections/minutes/exports": httpx.Response(202, json=job("queued", kind="export")),
        "GET /jobs/j1": job(result=result, kind="export"),
        "GET /jobs/j1/file": archive(**{"index.md": "i", "communities__0.md": "c"}),
    }
    folder = tmp_path / "a" / "b"
    outcome = run("graphrag", "export", "minutes", "--format", "markdown", "--output", str(folder), "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["files"] == [str(folder / "communities/0.md"), str(folder / "index.md")]
    assert (folder / "communities" / "0.md").read_text() == "c"
    assert run("graphrag", "export", "minutes", "-o", str(folder)).code == 2  # it is not empty now
    answers.canned["GET /jobs/j1/file"] = httpx.Response(200, content=b"PK half")
    broken = run("graphrag", "export", "minutes", "-o", str(tmp_path / "c"))
    assert broken.code == 1 and "incomplete" in broken.err
    assert run("graphrag", "export", "minutes", "-o", str(folder), "--format", "csv").code == 2


def test_one_community(run: Run, answers: Answers) -> None:
    community = {
        "id": "c", "number": 3, "level": 1, "parent": 0, "children": [9], "title": "Community 3", "entity_ids": ["e"],
        "relationship_ids": ["r"], "text_unit_ids": ["u"],
    }  # fmt: skip
    report = {"title": "The quay", "rank": 7.5, "full_content": "# The quay\n\nIt is long."}
    named = {"number": 0, "level": 0, "title": "The harbour", "size": 9}
    found = {
        "community": community, "report": report, "parent": named, "children": [{**named, "number": 9}],
        "entities": [{"title": "NORDHAFEN", "type": "ORGANIZATION", "degree": 3, "description": "d"}],
        "relationships": [{"source": "A", "target": "NORDHAFEN", "weight": 8.0, "description": "d"}],
    }  # fmt: skip
    answers.canned["GET /collections/minutes/communities/3"] = found
    shown = run("graphrag", "community", "minutes", "3").out
    for words in ("The quay", "0 The harbour", "9 The harbour", "NORDHAFEN", "It is long."):
        assert words in shown
    answers.canned["GET /collections/minutes/communities/3"] = {**found, "report": None, "parent": None}
    assert "no report" in run("graphrag", "community", "minutes", "3").out
    assert run("graphrag", "community", "minutes", "3", "--json").json["report"] is None


def test_documents_are_replaced_and_deleted_by_name(run: Run, answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    answers.canned |= {
        "POST /collections/minutes/documents": httpx.Response(201, json=document("a.txt", "queued")),
        "GET /collections/minutes/documents/a.txt": document("a.txt"),
        "DELETE /collections/minutes/documents/d-a.txt": httpx.Response(204),
    }
    assert run("document", "add", "minutes", str(tmp_path / "a.txt"), "--replace").code == 0
    assert answers.asked[-1].url.params["replace"] == "true"
    assert run("document", "add", "minutes", str(tmp_path / "a.txt")).code == 0
    assert "replace" not in answers.asked[-1].url.params
    assert run("document", "delete", "minutes", "a.txt", "--yes").code == 0


@pytest.mark.parametrize("changed", [False, True])
def test_a_version_older_than_the_documents_says_so(run: Run, answers: Answers, changed: bool) -> None:
    answers.canned |= {
        "POST /collections/minutes/versions/5/publish": {"items": []},
        "GET /collections/minutes/graph": {"version": 5, "counts": {}, "changed_since": changed, "documents_failed": 0},
    }
    done = run("graphrag", "rollback", "minutes", "5")
    assert done.code == 0 and "answered from index version 5" in done.out
    assert ("deleted ones" in done.err) is changed
