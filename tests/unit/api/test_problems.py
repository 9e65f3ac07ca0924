from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from fileintel.api import limits
from fileintel.errors import ModelServerError, ServiceError
from fileintel.store import collections as collection_store
from fileintel.store import health as health_store
from fileintel.tasks import bells


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "instance"}
    assert body["status"] == status and "\n" not in body["detail"]
    return body


def test_unknown_path_and_method(api: TestClient, scene: SimpleNamespace) -> None:
    assert problem(api.get("/nowhere"), 404)["detail"] == "there is nothing at /nowhere"
    answer = api.put("/api/v2/collections", headers=scene.read)
    assert problem(answer, 405)["type"] == "urn:fileintel:method-not-allowed"
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "body at character 1"),
        (b"[]", "body:"),
        (b"{}", "name: Field required"),
        (b'{"name": "x", "nmae": "y"}', "nmae: Extra inputs are not permitted"),
        (b'{"name": "a\\u0000b"}', "NUL"),
        (b'{"name": ""}', "name: must not be empty"),
        (b"\xff\xfe", ""),
    ],
)
def test_invalid_bodies_are_one_line_problems(
    api: TestClient, scene: SimpleNamespace, body: bytes, expected: str
) -> None:
    headers = {**scene.write, "Content-Type": "application/json"}
    answer = api.post("/api/v2/collections", content=body, headers=headers)
    assert expected in problem(answer, answer.status_code)["detail"]
    assert answer.status_code in (400, 422)


def test_a_refused_value_is_not_repeated(api: TestClient, scene: SimpleNamespace) -> None:
    answer = api.post("/api/v2/keys", json={"name": {"password": "hunter2"}}, headers=scene.admin)
    assert "hunter2" not in problem(answer, 422)["detail"]


def test_invalid_parameters(api: TestClient, scene: SimpleNamespace) -> None:
    for query in ("limit=0", "limit=x", "limit=1001", "offset=-1"):
        detail = problem(api.get(f"/api/v2/collections?{query}", headers=scene.read), 422)["detail"]
        assert query.split("=")[0] in detail
    problem(api.get("/api/v2/index-runs/x", headers=scene.read), 422)
    problem(api.get(f"/api/v2/index-runs/{2**70}", headers=scene.read), 422)
    problem(api.get("/api/v2/collections/a%00b", headers=scene.read), 404)
    problem(api.get("/api/v2/collections/minutes/entities?search=a%00b", headers=scene.read), 422)


def test_conflict(api: TestClient, scene: SimpleNamespace) -> None:
    answer = api.post("/api/v2/collections", json={"name": "minutes"}, headers=scene.write)
    assert problem(answer, 409)["type"] == "urn:fileintel:conflict"


def test_the_unforeseen_tells_only_its_log_entry(
    api: TestClient, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(collection_store, "list_all", broken)
    with caplog.at_level(logging.ERROR, "fileintel.api"):
        answer = api.get("/api/v2/collections", headers=scene.read)
    body = problem(answer, 500)
    assert "hunter2" not in answer.text and "RuntimeError" not in answer.text
    assert body["id"] in body["detail"] and body["id"] in caplog.text


def test_services_that_are_away(api: TestClient, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise ServiceError("the database does not answer")

    def busy() -> None:
        raise ModelServerError("busy", retry_after=2.5)

    monkeypatch.setattr(collection_store, "list_all", away)
    assert "database" in problem(api.get("/api/v2/collections", headers=scene.read), 503)["detail"]
    monkeypatch.setattr(collection_store, "list_all", busy)
    answer = api.get("/api/v2/collections", headers=scene.read)
    assert problem(answer, 502) and answer.headers["retry-after"] == "3"


def test_bodies_are_limited(api: TestClient, scene: SimpleNamespace) -> None:
    big = b'{"name": "' + b"x" * limits.MAX_JSON_BYTES + b'"}'
    headers = {**scene.write, "Content-Type": "application/json"}
    problem(api.post("/api/v2/collections", content=big, headers=headers), 413)
    pieces = (big[start : start + 65536] for start in range(0, len(big), 65536))
    problem(api.post("/api/v2/collections", content=pieces, headers=headers), 413)


def test_health(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("", "/api/v2"):
        assert api.get(f"{prefix}/health/live").json()["status"] == "alive"
        ready = api.get(f"{prefix}/health/ready")
        assert ready.status_code == 200
        assert set(ready.json()["parts"]) == {"database", "migrations", "broker", "blobs"}

    def away() -> None:
        raise ServiceError("nothing listens there")

    monkeypatch.setattr(bells, "broker_ready", away)
    body = problem(api.get("/health/ready"), 503)
    assert body["detail"] == "broker: nothing listens there"
    assert body["parts"]["database"]["ok"] and not body["parts"]["broker"]["ok"]
    monkeypatch.setattr(health_store, "ready", away)
    assert not problem(api.get("/health/ready"), 503)["parts"]["database"]["ok"]
    assert api.get("/health/live").status_code == 200


def test_health_notices_a_document_store_that_cannot_be_written(api: TestClient, blob_dir: Any) -> None:
    blob_dir.write_text("a file where the folder should be")
    assert "blobs" in problem(api.get("/health/ready"), 503)["detail"]
