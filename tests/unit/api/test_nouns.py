from __future__ import annotations

import asyncio
import itertools
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from fileintel.api import shapes, streams
from fileintel.api.pace import Pace
from fileintel.errors import ServiceError
from fileintel.model import Anchor, ApiKey, Claim, Collection, Document, IndexRun, Query, Source
from fileintel.store.model_servers import FailingModelServer
from fileintel.tasks import events

from .conftest import AT, Store
from .test_problems import problem

FAILING = FailingModelServer("the model server http://m cannot be reached", AT)


def test_collections(api: TestClient, scene: SimpleNamespace) -> None:
    made = api.post("/api/v2/collections", json={"name": "new", "description": "d"}, headers=scene.write)
    assert made.status_code == 201 and made.headers["location"] == "/api/v2/collections/id-new"
    assert api.get("/api/v2/collections/new", headers=scene.read).json()["id"] == "id-new"
    first = api.get("/api/v2/collections?limit=2", headers=scene.read).json()
    assert len(first["items"]) == 2 and first["next_offset"] == 2
    last = api.get("/api/v2/collections?limit=2&offset=2", headers=scene.read).json()
    assert len(last["items"]) == 1 and last["next_offset"] is None
    gone = api.delete("/api/v2/collections/new", headers=scene.write)
    assert gone.status_code == 204 and gone.content == b""


def test_documents(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    where = "/api/v2/collections/minutes/documents"
    store.document(scene.minutes, "b.txt", "failed")
    assert len(api.get(where, headers=scene.read).json()["items"]) == 2
    failed = api.get(f"{where}?state=failed", headers=scene.read).json()["items"]
    assert [document["name"] for document in failed] == ["b.txt"]
    problem(api.get(f"{where}?state=lost", headers=scene.read), 422)
    assert api.get(f"{where}/{scene.document.id}", headers=scene.read).json()["created_at"] == "2026-03-02T09:30:00Z"
    problem(api.get(f"{where}/nowhere", headers=scene.read), 404)
    assert api.delete(f"{where}/{scene.document.id}", headers=scene.write).status_code == 204
    problem(api.delete(f"{where}/{scene.document.id}", headers=scene.write), 404)


def test_index_runs(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    started = api.post("/api/v2/collections/minutes/index-runs", headers=scene.write)
    assert started.status_code == 202
    where = started.headers["location"]
    shown = api.get(where, headers=scene.read).json()
    assert shown["steps"][0] == {"step": "extract_graph", "pending": 90, "leased": 150, "done": 352, "failed": 0}
    assert (shown["calls_in_flight"], shown["eta_seconds"], shown["failures"]) == (150, None, [])
    assert (shown["unreadable"], shown["failing_model_servers"]) == (2, [])
    store.failing = [FAILING]
    told = {"error": "the model server http://m cannot be reached", "since": "2026-03-02T09:30:00Z"}
    assert api.get(where, headers=scene.read).json()["failing_model_servers"] == [told]
    listed = api.get("/api/v2/collections/minutes/index-runs", headers=scene.read).json()
    assert len(listed["items"]) == 1
    assert api.post(f"{where}/cancel", headers=scene.write).json()["state"] == "cancelled"
    assert api.get(where, headers=scene.read).json()["failing_model_servers"] == []
    problem(api.post(f"{where}/cancel", headers=scene.write), 409)
    problem(api.post(f"{where}/cancel", headers=scene.read), 403)
    problem(api.get("/api/v2/index-runs/999", headers=scene.read), 404)


def test_pace() -> None:
    pace = Pace()
    assert pace.seconds_left(1, 10, 90, now=0) is None
    assert pace.seconds_left(1, 20, 80, now=5) == 40
    assert pace.seconds_left(1, 30, 70, now=105) == 700  # two sightings are enough, however far apart
    assert pace.seconds_left(1, 30, 70, now=300) is None  # nothing was done meanwhile
    assert pace.seconds_left(1, 100, 0, now=201) is None
    assert pace.seconds_left(2, 5, 5, now=0) is None


def test_the_graph_before_and_after_the_first_index(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    graph = api.get("/api/v2/collections/minutes/graph", headers=scene.read).json()
    assert graph == {"version": None, "counts": {}, "changed_since": False, "documents_failed": 0}
    for noun in ("entities", "relationships", "communities", "reports"):
        answer = api.get(f"/api/v2/collections/minutes/{noun}", headers=scene.read)
        assert "fileintel graphrag index minutes" in problem(answer, 409)["detail"]
    store.collection("minutes", version=7)
    graph = api.get("/api/v2/collections/minutes/graph", headers=scene.read).json()
    assert graph["version"] == 7 and graph["changed_since"]
    for noun in ("entities?search=x", "relationships", "communities?level=0", "reports?level=1"):
        answer = api.get(f"/api/v2/collections/minutes/{noun}", headers=scene.read)
        assert answer.json() == {"items": [], "next_offset": None}


def test_questions(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    where = "/api/v2/collections/minutes/queries"
    asked = api.post(where, json={"question": " Who? "}, headers=scene.read)
    assert asked.status_code == 202
    query = asked.json()
    assert (query["question"], query["mode"], query["state"]) == ("Who?", "auto", "queued")
    assert store.rung == [("query", query["id"])]
    assert api.get(asked.headers["location"], headers=scene.read).json() == query
    problem(api.get("/api/v2/queries/nowhere", headers=scene.read), 404)


def test_question_options(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    body = {
        "question": "Who?",
        "community_level": 1,
        "response_type": " Single \t sentence ",
        "dynamic_selection": True,
    }
    query = api.post("/api/v2/collections/minutes/queries", json=body, headers=scene.read).json()
    assert (query["community_level"], query["response_type"], query["dynamic_selection"]) == (
        1,
        "Single sentence",
        True,
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"question": ""},
        {"question": " \n"},
        {"question": "x" * 9000},
        {"question": "?", "mode": "deep"},
        {"question": "?", "community_level": -1},
        {"question": "?", "mode": "basic", "community_level": 1},
        {"question": "?", "mode": "local", "dynamic_selection": True},
        {"question": "?", "response_type": ""},
        {"question": "?", "response_type": "one\x1bline"},
        {"question": "?", "response_type": "x" * 201},
    ],
)
def test_bad_questions(api: TestClient, scene: SimpleNamespace, body: Any) -> None:
    problem(api.post("/api/v2/collections/minutes/queries", json=body, headers=scene.read), 422)


def test_questions_nothing_can_answer_yet(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    question = {"question": "Who?"}
    problem(api.post("/api/v2/collections/nowhere/queries", json=question, headers=scene.read), 404)
    where = "/api/v2/collections/secret/queries"
    details = []
    for state in (None, "failed", "queued"):
        if state:
            store.document(scene.secret, "x", state)
        details.append(problem(api.post(where, json=question, headers=scene.read), 409)["detail"])
    assert "document add secret" in details[0] and "says why" in details[1] and "wait" in details[2]
    for mode in ("local", "global", "drift", "graph"):
        answer = api.post("/api/v2/collections/minutes/queries", json={**question, "mode": mode}, headers=scene.read)
        assert "graphrag index minutes" in problem(answer, 409)["detail"]


def stream(api: TestClient, query_id: str, headers: dict[str, str]) -> list[tuple[str, Any]]:
    answer = api.get(f"/api/v2/queries/{query_id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n") if not block.startswith(":")]
    return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in blocks]


def test_status_names_the_model_servers_that_fail(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    shown = api.get("/api/v2/status", headers=scene.read).json()
    assert (shown["calls_in_flight"], shown["failing_model_servers"]) == (150, [])
    store.failing = [FAILING]
    (told,) = api.get("/api/v2/status", headers=scene.read).json()["failing_model_servers"]
    assert told["error"] == FAILING.error
    problem(api.get("/api/v2/status"), 401)


def test_a_stream_says_what_it_waits_for(
    api: TestClient, store: Store, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_QUIET_SECONDS", 0.0)
    query = store.create_query(scene.minutes.id, "Why?", "basic")
    store.events = [("wait", {}), ("delta", {"text": "It"}), ("answer", {"text": "It"})]
    assert stream(api, query.id, scene.read) == store.events[1:]
    store.failing = [FAILING]
    waiting = ("waiting", {"error": FAILING.error, "since": str(FAILING.since)})
    assert stream(api, query.id, scene.read) == [waiting, *store.events[1:]]


def test_events(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    query = store.create_query(scene.minutes.id, "Who?", "auto")
    store.events = [
        ("wait", {}),
        ("delta", {"text": "Ines\nBrandt"}),
        ("answer", {"text": "Ines\nBrandt", "citations": []}),
    ]
    assert stream(api, query.id, scene.read) == store.events[1:]


def test_events_that_fail(
    api: TestClient, store: Store, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = store.create_query(scene.minutes.id, "Who?", "auto")
    for error, detail in ((ServiceError("the broker is away"), "the broker is away"), (KeyError("pw"), "unexpected")):

        def failing(query_id: str, timeout: float, error: Exception = error) -> Any:
            raise error
            yield

        monkeypatch.setattr(events, "follow", failing)
        [(kind, data)] = stream(api, query.id, scene.read)
        assert kind == "error" and detail in data["detail"] and "pw" not in data["detail"]


def test_streams_are_bounded(
    api: TestClient, store: Store, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = store.create_query(scene.minutes.id, "Who?", "auto")
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(streams, "_streams", full)
    problem(api.get(f"/api/v2/queries/{query.id}/events", headers=scene.read), 503)


def test_a_follower_nobody_listens_to_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = threading.BoundedSemaphore(1)
    slots.acquire()
    monkeypatch.setattr(streams, "_streams", slots)
    monkeypatch.setattr(events, "follow", lambda query_id, timeout: itertools.repeat(("wait", {})))
    gone, put = threading.Event(), []
    gone.set()
    streams._pump("q", 1.0, put.append, gone)
    assert put == [None] and slots.acquire(blocking=False)


def test_silence_is_filled_with_heartbeats(
    api: TestClient, store: Store, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = threading.Event()

    def slow(query_id: str, timeout: float) -> Any:
        assert heard.wait(60)
        yield "answer", {"text": "x"}

    waited = asyncio.wait_for

    async def wait_for(event: Any, seconds: float) -> Any:
        try:
            return await waited(event, seconds)
        except TimeoutError:
            heard.set()
            raise

    monkeypatch.setattr(asyncio, "wait_for", wait_for)
    monkeypatch.setattr(streams, "_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(events, "follow", slow)
    query = store.create_query(scene.minutes.id, "Who?", "auto")
    text = api.get(f"/api/v2/queries/{query.id}/events", headers=scene.read).text
    assert ": still working\n\n" in text and text.endswith('event: answer\ndata: {"text": "x"}\n\n')


def test_openapi_is_complete(api: TestClient, scene: SimpleNamespace) -> None:
    schema = api.get("/api/v2/openapi.json", headers=scene.read).json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation.get("description"), where
            assert ("security" in operation) == ("/health/" not in path), where
            for status, response in operation["responses"].items():
                for media in response.get("content", {}).values():
                    if status.startswith("2"):
                        assert "example" in media or "examples" in media, f"{where} {status}"
                    else:
                        assert media["schema"]["$ref"].endswith("/Problem"), f"{where} {status}"
            if "/health/" not in path:
                assert {"401", "403"} <= set(operation["responses"]), where


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        (Collection, shapes.COLLECTION),
        (Document, shapes.DOCUMENT),
        (IndexRun, shapes.RUN),
        (shapes.IndexProgress, shapes.PROGRESS),
        (shapes.Status, shapes.STATUS),
        (Query, shapes.QUERY),
        (ApiKey, shapes.KEY),
    ],
)
def test_examples_are_what_they_show(kind: Any, example: dict[str, Any]) -> None:
    TypeAdapter(kind).validate_python(example)


def test_docs_are_an_empty_page_that_loads_nothing_from_elsewhere(api: TestClient) -> None:
    page = api.get("/api/v2/docs")
    assert page.status_code == 200 and "://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_method_of_an_index_run(api: TestClient, scene: SimpleNamespace) -> None:
    where = "/api/v2/collections/minutes/index-runs"
    asked = api.post(where, json={"method": "fast", "claims": True}, headers=scene.write)
    assert asked.status_code == 202
    assert (asked.json()["method"], asked.json()["claims"]) == ("fast", True)
    plain = api.post(where, json={}, headers=scene.write).json()
    assert (plain["method"], plain["claims"]) == ("standard", False)
    assert api.get(f"/api/v2/index-runs/{plain['id']}", headers=scene.read).json()["run"]["method"] == "standard"
    assert "method" in problem(api.post(where, json={"method": "quick"}, headers=scene.write), 422)["detail"]
    assert "claim" in problem(api.post(where, json={"claim": True}, headers=scene.write), 422)["detail"]


def test_claims_come_with_their_place(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    where = "/api/v2/collections/minutes/claims"
    assert "fileintel graphrag index minutes" in problem(api.get(where, headers=scene.read), 409)["detail"]
    store.collection("minutes", version=7)
    text = "Alice came. Alice owes Bob."
    anchors = (Anchor(0, 3, "Guests"), Anchor(12, 4, "Debts"))
    store.units = [Source(1, "u1", "d1", "a.pdf", text, anchors), Source(2, "u2", "d1", "a.pdf", text)]
    quotes = ["Alice owes Bob.", '"Alice came."', "not a quote"]
    store.claims = [
        Claim(f"c{n}", n, unit, "ALICE", "BOB", "DEBT", "TRUE", "NONE", "NONE", "Alice owes Bob", quote)
        for n, (unit, quote) in enumerate([*(("u1", quote) for quote in quotes), ("u2", ""), ("gone", "")])
    ]
    found = api.get(where, headers=scene.read).json()
    assert [(item["page"], item["heading"]) for item in found["items"]] == [
        (4, "Debts"),
        (3, "Guests"),
        (3, "Guests"),
        (None, None),
    ]
    assert found["items"][0]["document_name"] == "a.pdf" and found["items"][0]["claim"]["subject"] == "ALICE"
    first = api.get(f"{where}?limit=3&search=ali", headers=scene.read).json()
    assert len(first["items"]) == 3 and first["next_offset"] == 3
