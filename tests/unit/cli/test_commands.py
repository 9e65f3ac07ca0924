from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import AT, COLLECTION, RUN, Answers, Outcome, document, page, problem, progress_of

Run = Callable[..., Outcome]
UPLOAD = "POST /collections/minutes/documents"


def test_collections(run: Run, answers: Answers) -> None:
    answers.canned |= {
        "POST /collections": httpx.Response(201, json=COLLECTION),
        "GET /collections/minutes/graph": {"version": 7, "counts": {"entities": 212}},
        "DELETE /collections/c1": httpx.Response(204),
    }
    assert "made minutes" in run("collection", "create", "minutes", "--description", "d").out
    assert json.loads(answers.asked[-1].content) == {"name": "minutes", "description": "d"}
    assert "minutes" in run("collection", "list").out
    assert "212" in run("collection", "show", "minutes").out
    assert run("collection", "show", "minutes", "--json").json["graph"]["version"] == 7
    assert run("collection", "delete", "minutes", "--json").json == {"deleted": "c1"}
    assert run("collection", "show", "nowhere").code == 2


def test_add_goes_on_after_a_refusal(run: Run, answers: Answers, tmp_path: Path) -> None:
    for name in ("a.txt", "empty.txt", "c.txt"):
        (tmp_path / name).write_text("" if name == "empty.txt" else name)

    def upload(request: httpx.Request) -> httpx.Response:
        name = request.url.params["name"]
        assert request.headers["content-length"] == str(len(request.content))
        if not request.content:
            return problem(422, "the file is empty: it has 0 bytes")
        return httpx.Response(200 if name == "c.txt" else 201, json=document(name, "queued"))

    answers.canned[UPLOAD] = upload
    names = [str(tmp_path / name) for name in ("a.txt", "empty.txt", "missing.txt", "c.txt")]
    outcome = run("document", "add", "minutes", *names)
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["queued", "refused", "refused", "queued"]
    assert "0 bytes" in lines[2] and "No such file" in lines[3] and "(was there)" in lines[4]
    assert outcome.err.count("\n") == 1 and "2 of 4" in outcome.err
    told = run("document", "add", "minutes", *names, "--json")
    assert told.code == 1 and told.json["failed"] == 2 and json.loads(told.err)["detail"].startswith("2 of 4")
    assert [d["created"] for d in told.json["documents"]] == [True, False, False, False]
    assert run("document", "add", "minutes", names[0]).code == 0


def test_the_error_of_a_single_file_is_what_went_wrong(run: Run, answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_text("x")
    why = {"error": "it asks for a password", "error_code": "encrypted-document"}
    answers.canned[UPLOAD] = httpx.Response(201, json=document("b.pdf", "failed", **why))
    told = run("document", "add", "minutes", "--wait", str(tmp_path / "b.pdf"))
    assert told.code == 1
    assert told.err.splitlines()[-1] == f"fileintel: {tmp_path}/b.pdf: encrypted document: it asks for a password"
    as_json = run("document", "add", "minutes", "--wait", str(tmp_path / "b.pdf"), "--json")
    assert as_json.code == 1 and json.loads(as_json.err)["type"] == "urn:fileintel:encrypted-document"
    refusal = run("document", "add", "minutes", "--wait", str(tmp_path / "missing.pdf"))
    assert refusal.code == 2
    assert (
        refusal.err == f"fileintel: {tmp_path}/missing.pdf: unusable file: No such file or directory: check the path\n"
    )


def test_a_second_document_of_a_name_is_pointed_out(run: Run, answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("x")
    answers.canned[UPLOAD] = httpx.Response(201, json=document("b.txt", "queued"))
    answers.canned["GET /collections/minutes/documents/b.txt"] = problem(409, "2 documents are named 'b.txt'")
    assert "--replace" in run("document", "add", "minutes", str(tmp_path / "b.txt")).err
    assert "--replace" not in run("document", "add", "minutes", "--replace", str(tmp_path / "b.txt")).err


def test_add_stops_when_it_cannot_go_on(run: Run, answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    file = str(tmp_path / "a.txt")
    assert run("document", "add", "nowhere", file).code == 2
    answers.canned[UPLOAD] = problem(503, "the broker does not answer")
    assert run("document", "add", "minutes", file).code == 1
    answers.canned[UPLOAD] = httpx.ConnectError("refused")
    assert "fileintel up" in run("document", "add", "minutes", file).err


def test_add_folders(run: Run, answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.txt", "sub/a.txt", ".hidden/x.txt", "sub/.x"):
        (tmp_path / name).write_text("a")
    answers.canned[UPLOAD] = lambda request: httpx.Response(201, json=document(request.url.params["name"], "queued"))
    refused = run("document", "add", "minutes", str(tmp_path))
    assert refused.code == 2 and "--recursive" in refused.out
    taken = run("document", "add", "minutes", "-r", str(tmp_path), "--json").json
    assert [d["name"] for d in taken["documents"]] == ["b.txt", "a.txt"]


def test_add_does_not_read_a_pipe(run: Run, answers: Answers, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    outcome = run("document", "add", "minutes", str(tmp_path / "pipe"))
    assert outcome.code == 2 and "neither a file nor a folder" in outcome.out


def test_add_and_wait(run: Run, answers: Answers, tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_text("x")
    answers.canned |= {
        UPLOAD: lambda request: httpx.Response(201, json=document(request.url.params["name"], "queued")),
        "GET /collections/minutes/documents/d-a.pdf": [document("a.pdf", "processing"), document("a.pdf", "ready")],
        "GET /collections/minutes/documents/d-b.pdf": document("b.pdf", "failed", error="it asks for a password"),
    }
    outcome = run("document", "add", "minutes", "--wait", str(tmp_path / "a.pdf"), str(tmp_path / "b.pdf"))
    assert outcome.code == 1 and "it asks for a password" in outcome.out
    lines = outcome.err.splitlines()
    assert lines[0] == "documents: 2 queued" and lines[-2] == "documents: 1 ready, 1 failed"
    quiet = run("document", "add", "minutes", "--wait", str(tmp_path / "a.pdf"), "--json")
    assert quiet.code == 0 and quiet.err == "" and quiet.json["documents"][0]["document"]["state"] == "ready"


def test_documents(run: Run, answers: Answers) -> None:
    where = "/collections/minutes/documents"
    answers.canned |= {
        f"GET {where}": page(document("a.pdf"), document("b\x1b.pdf", "failed", error="corrupt")),
        f"GET {where}/d-a.pdf": document("a.pdf"),
        f"DELETE {where}/d-a.pdf": httpx.Response(204),
    }
    listed = run("document", "list", "minutes")
    assert "corrupt" in listed.out and "\x1b" not in listed.out
    assert "1.2 kB" in run("document", "show", "minutes", "d-a.pdf").out
    assert run("document", "delete", "minutes", "d-a.pdf").code == 0
    assert run("document", "delete", "minutes", "nowhere").code == 2


def test_index(run: Run, answers: Answers) -> None:
    answers.canned |= {
        "POST /collections/minutes/index-runs": httpx.Response(202, json=RUN),
        "GET /index-runs/7": [progress_of(), progress_of(), progress_of("complete")],
        "GET /collections/minutes/graph": {"version": 7, "counts": {"entities": 212}},
    }
    assert "index run 7" in run("graphrag", "index", "minutes").out
    outcome = run("graphrag", "index", "minutes", "--wait")
    assert outcome.code == 0 and "212" in outcome.out and "3 made, 2 remembered" in outcome.out
    assert "took" in outcome.out and "1 min 30 s" in outcome.out and "standard" in outcome.out
    first = outcome.err.splitlines()[0]
    assert "extract_graph 2/10" in first and "3 calls in flight" in first and "about 1 min 30 s left" in first
    told = run("graphrag", "index", "minutes", "--wait", "--json")
    assert told.json["run"]["state"] == "complete" and told.err == ""


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], {}),
        (["--method", "fast"], {"method": "fast"}),
        (["--method", "standard", "--claims"], {"method": "standard", "claims": True}),
        (["--no-claims"], {"claims": False}),
    ],
)
def test_an_index_run_s_method(run: Run, answers: Answers, options: list[str], asked: dict[str, Any]) -> None:
    made = {**RUN, "method": "fast", "claims": True}
    answers.canned |= {"POST /collections/minutes/index-runs": httpx.Response(202, json=made)}
    assert run("graphrag", "index", "minutes", *options, "--json").json == made
    assert json.loads(answers.asked[-1].content) == asked
    unknown = run("graphrag", "index", "minutes", "--method", "quick")
    assert unknown.code == 2 and "standard" in unknown.err


def test_an_index_run_that_the_model_cannot_do(run: Run, answers: Answers) -> None:
    refusal = "the embedded extractive model finds no claims: name a language model"
    answers.canned |= {"POST /collections/minutes/index-runs": problem(422, refusal)}
    refused = run("graphrag", "index", "minutes", "--claims")
    assert refused.code == 2 and refused.err == f"fileintel: {refusal}\n"


def test_claims(run: Run, answers: Answers) -> None:
    claim = {
        "id": "cl1", "human_readable_id": 0, "text_unit_id": "u", "subject": "ALICE", "object": "NONE",
        "type": "FRAUD", "status": "TRUE", "start_date": "NONE", "end_date": "NONE", "description": "Alice took it",
        "source_text": "Alice took it.",
    }  # fmt: skip
    located = {"claim": claim, "document_id": "d", "document_name": "a.pdf", "page": 3, "heading": None}
    answers.canned |= {"GET /collections/minutes/claims": page(located)}
    shown = run("graphrag", "claims", "minutes", "--search", "ali")
    assert shown.code == 0 and "Alice took it" in shown.out and "a.pdf" in shown.out
    assert answers.asked[-1].url.params["search"] == "ali"
    assert run("graphrag", "claims", "minutes", "--json").json == [located]


@pytest.mark.parametrize("why", ["the LLM server refused the model's name", None])
def test_an_index_run_that_fails(run: Run, answers: Answers, why: str | None) -> None:
    ended = progress_of("failed", failures=[{"step": "extract_graph", "key": "k", "attempts": 5, "error": "HTTP 500"}])
    ended["run"]["error"] = why
    answers.canned |= {
        "POST /collections/minutes/index-runs": httpx.Response(202, json=RUN),
        "GET /index-runs/7": ended,
        "GET /collections/minutes/graph": {"version": None, "counts": {}},
    }
    outcome = run("graphrag", "index", "minutes", "--wait")
    assert outcome.code == 1 and (why or "extract_graph: HTTP 500") in outcome.err


def test_status(run: Run, answers: Answers) -> None:
    answers.canned |= {
        "GET /collections/minutes/index-runs": [page(), page(RUN)],
        "GET /collections/minutes/graph": {
            "version": 6,
            "counts": {"entities": 212},
            "changed_since": True,
            "documents_failed": 2,
        },
        "GET /index-runs/7": progress_of(),
    }
    assert "never indexed" in run("graphrag", "status", "minutes").out
    shown = run("graphrag", "status", "minutes").out
    assert "7 running" in shown and "about 1 min 30 s left" in shown
    assert "version 6; documents have changed since" in shown and "2 documents: `fileintel document list" in shown
    assert run("graphrag", "status", "minutes", "--json").json["progress"]["calls_in_flight"] == 3


def test_cancel(run: Run, answers: Answers) -> None:
    answers.canned |= {
        "GET /collections/minutes/index-runs": [page(RUN), page({**RUN, "state": "complete"})],
        "POST /index-runs/7/cancel": {**RUN, "state": "cancelled"},
    }
    assert "cancelled" in run("graphrag", "cancel", "minutes").out
    assert run("graphrag", "cancel", "minutes").code == 2


def test_the_graph(run: Run, answers: Answers) -> None:
    where = "GET /collections/minutes"
    entity = {"title": "NORDHAFEN", "type": "ORG", "degree": 3, "frequency": 4, "description": "An\nagency " * 50}
    report = {"community": 0, "level": 0, "rank": 7.5, "title": "Quay", "summary": "s", "full_content": "# A\n\nB\x1b"}
    answers.canned |= {
        f"{where}/entities": page(entity, entity, next_offset=2),
        f"{where}/relationships": page({"source": "A", "target": "B", "weight": 8.0, "description": "d"}),
        f"{where}/communities": page({"number": 0, "level": 0, "parent": -1, "entity_ids": ["a", "b"], "title": "Q"}),
        f"{where}/reports": page(report),
    }
    assert "NORDHAFEN" in run("graphrag", "entities", "minutes", "--search", "nord", "--limit", "2").out
    assert dict(answers.asked[-1].url.params) == {"limit": "2", "offset": "0", "search": "nord"}
    assert "A       B       8" in run("graphrag", "relationships", "minutes").out
    assert run("graphrag", "communities", "minutes", "--level", "0").out.splitlines()[1].split() == list("00") + [
        "-1",
        "2",
        "Q",
    ]
    assert "7.5" in run("graphrag", "reports", "minutes").out
    assert "# A\n\nB \n" in run("graphrag", "reports", "minutes", "--full").out
    answers.canned[f"{where}/entities"] = problem(409, "no graph yet")
    assert run("graphrag", "entities", "minutes").code == 2


ANSWER = {
    "text": "It was Ines Brandt [1].", "mode": "basic", "refused": False, "marks_removed": 1, "chat_model": "qwen",
    "embedding_model": "minilm", "index_version": 7, "tokens_in": 1, "tokens_out": 1,
    "citations": [{
        "number": 1, "document_id": "d", "document_name": "m.pdf", "text_unit_id": "t", "page": 12,
        "heading": "Item 4", "quote": "signed\nby Ines Brandt",
    }],
}  # fmt: skip
ASKED = {
    "id": "q1", "collection_id": "c1", "question": "Who?", "mode": "auto", "state": "queued", "answer": None,
    "error_code": None, "error": None, "created_at": AT, "finished_at": None,
}  # fmt: skip


def sse(*events: tuple[str, Any]) -> httpx.Response:
    text = ": following\n\n" + "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in events)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


@pytest.fixture
def asked(answers: Answers) -> Answers:
    answers.canned |= {
        "POST /collections/minutes/queries": httpx.Response(202, json=ASKED),
        "GET /queries/q1": {**ASKED, "state": "complete", "answer": ANSWER},
        "GET /queries/q1/events": sse(
            ("delta", {"text": "It was "}), ("delta", {"text": "Ines Brandt [1]."}), ("answer", ANSWER)
        ),
    }
    return answers


def test_query(run: Run, asked: Answers) -> None:
    outcome = run("query", "minutes", "Who?", "--mode", "basic")
    assert json.loads(asked.asked[0].content) == {"question": "Who?", "mode": "basic"}
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out == (
        "It was Ines Brandt [1].\n\n"
        "[1] m.pdf, page 12, Item 4\n    “signed by Ines Brandt”\n\n"
        "basic, from index version 7, by qwen and minilm\n"
        "1 marks that led to no source were removed\n"
    )
    told = run("query", "minutes", "Who?", "--json")
    assert told.json["answer"]["text"] == ANSWER["text"] and told.err == ""


def test_query_options(run: Run, asked: Answers) -> None:
    options = ("--community-level", "2", "--response-type", "Single sentence", "--dynamic")
    for command, mode in ((("query",), "auto"), (("graphrag", "query"), "graph")):
        asked.asked.clear()
        outcome = run(*command, "minutes", "Who?", *options)
        assert outcome.code == 0 and outcome.out.startswith("It was Ines Brandt [1].\n")
        assert json.loads(asked.asked[0].content) == {
            "question": "Who?",
            "mode": mode,
            "community_level": 2,
            "response_type": "Single sentence",
            "dynamic_selection": True,
        }
    asked.asked.clear()
    assert run("graphrag", "query", "minutes", "Who?", "--mode", "drift", "--no-dynamic", "--json").code == 0
    assert json.loads(asked.asked[0].content) == {"question": "Who?", "mode": "drift"}


def test_an_answer_that_begins_anew_or_changes_is_shown_whole(run: Run, asked: Answers) -> None:
    asked.canned["GET /queries/q1/events"] = sse(
        ("delta", {"text": "It w"}), ("restart", {}), ("delta", {"text": "It was\x1b Ines [9]"}), ("answer", ANSWER)
    )
    outcome = run("query", "minutes", "Who?")
    assert "begins anew" in outcome.err and "\x1b" not in outcome.out
    assert outcome.out.startswith("It w\nIt was  Ines [9]\n\nIt was Ines Brandt [1].\n")


@pytest.mark.parametrize(
    "stream",
    [
        sse(("delta", {"text": "It was "})),
        sse(("error", {"code": "timeout", "detail": "no answer yet"})),
        httpx.RemoteProtocolError("cut"),
        problem(503, "200 answers are being streamed already"),
    ],
)
def test_a_stream_that_breaks_is_no_loss(run: Run, asked: Answers, stream: Any) -> None:
    asked.canned["GET /queries/q1/events"] = stream
    asked.canned["GET /queries/q1"] = [ASKED, {**ASKED, "state": "complete", "answer": ANSWER}]
    outcome = run("query", "minutes", "Who?")
    assert outcome.code == 0 and "Ines Brandt [1]." in outcome.out


def test_questions_that_fail(run: Run, asked: Answers) -> None:
    asked.canned["GET /queries/q1/events"] = sse(("error", {"code": "model-server", "detail": "it is down"}))
    outcome = run("query", "minutes", "Who?")
    assert outcome.code == 1 and outcome.err == "fileintel: it is down\n"
    asked.canned["GET /queries/q1/events"] = sse()
    asked.canned["GET /queries/q1"] = {**ASKED, "state": "failed", "error": "it is down"}
    assert run("query", "minutes", "Who?", "--json").code == 1
    assert run("query", "nowhere", "Who?").code == 2
    asked.canned["POST /collections/minutes/queries"] = problem(409, "no document is ready yet")
    assert run("query", "minutes", "Who?").code == 2


def test_keys(run: Run, answers: Answers) -> None:
    made = {"key": {"id": "k1", "name": "x"}, "secret": "fi_abc"}
    answers.canned |= {"POST /keys": httpx.Response(201, json=made), "DELETE /keys/k1": httpx.Response(204)}
    outcome = run("key", "create", "x", "--scope", "write", "--collection", "minutes")
    assert outcome.out == "fi_abc\n" and "not shown again" in outcome.err
    assert json.loads(answers.asked[-1].content) == {"name": "x", "scopes": ["write"], "collections": ["minutes"]}
    assert run("key", "revoke", "k1", "--json").json == {"revoked": "k1"}
    assert run("key", "revoke", "k2").code == 2


def test_tasks(run: Run, answers: Answers) -> None:
    answers.canned["GET /tasks"] = {"index_runs": [RUN], "documents": [document("a")], "queries": [ASKED]}
    shown = run("tasks").out
    assert "extract_graph" in shown and "Who?" in shown and "minutes" in shown
    assert set(run("tasks", "--json").json) == {"index_runs", "documents", "queries"}


FAILING = {"error": "the model server http://m cannot be reached", "since": AT}


def test_health_names_a_model_server_that_fails(run: Run, answers: Answers) -> None:
    good = {"ok": True, "detail": "ok"}
    answers.canned["GET /health/ready"] = {"status": "ready", "parts": {"database": good}}
    answers.canned["GET /status"] = {"version": "0", "calls_in_flight": 0, "failing_model_servers": [FAILING]}
    outcome = run("health")
    assert outcome.code == 1 and "cannot work: model server 1" in outcome.err
    assert "http://m cannot be reached (since" in outcome.out
    shown = run("health", "--json").json
    assert (shown["ready"], shown["parts"]["model server 1"]["ok"]) == (False, False)
    # Without a key what can be said is said.
    answers.canned["GET /status"] = problem(401, "no API key")
    outcome = run("health")
    assert outcome.code == 0 and "not looked at: no API key" in outcome.err


def test_a_waiting_run_names_the_model_server_that_fails(run: Run, answers: Answers) -> None:
    answers.canned |= {
        "POST /collections/minutes/index-runs": RUN,
        "GET /collections/minutes/index-runs": page(RUN),
        "GET /collections/minutes/graph": {"version": 7, "counts": {"entities": 1}},
        "GET /index-runs/7": [progress_of(failing_model_servers=[FAILING]), progress_of("complete", unreadable=3)],
    }
    outcome = run("graphrag", "index", "minutes", "--wait")
    assert "http://m cannot be reached (since" in outcome.err
    assert "3 fragments of the model's answers" in outcome.out
    answers.canned["GET /index-runs/7"] = progress_of(failing_model_servers=[FAILING])
    outcome = run("graphrag", "status", "minutes")
    assert "http://m cannot be reached (since" in outcome.out and "unreadable" not in outcome.out


def test_a_waiting_question_names_the_model_server_that_fails_once(run: Run, asked: Answers) -> None:
    asked.canned["GET /queries/q1/events"] = sse(("waiting", FAILING), ("waiting", FAILING), ("answer", ANSWER))
    outcome = run("query", "minutes", "Who?")
    assert outcome.code == 0
    assert outcome.err.count("waiting: the model server http://m cannot be reached (since") == 1
    assert run("query", "minutes", "Who?", "--json").json["answer"]["text"] == ANSWER["text"]


def test_health(run: Run, answers: Answers) -> None:
    good, bad = {"ok": True, "detail": "ok"}, {"ok": False, "detail": "nothing listens there"}
    answers.canned["GET /health/ready"] = {"status": "ready", "parts": {"database": good}}
    assert run("health").code == 0
    body = {"status": 503, "detail": "d", "parts": {"database": good, "broker": bad}}
    answers.canned["GET /health/ready"] = httpx.Response(503, json=body)
    outcome = run("health")
    assert outcome.code == 1 and "nothing listens there" in outcome.out and "cannot work: broker" in outcome.err
    assert run("health", "--json").json["ready"] is False
