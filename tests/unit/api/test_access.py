from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from .conftest import Store


def routes(api: TestClient) -> list[tuple[str, str]]:
    paths = api.app.openapi()["paths"]  # type: ignore[attr-defined]
    filled = [(method.upper(), re.sub(r"\{run\}", "1", path)) for path, item in paths.items() for method in item]
    return [(method, re.sub(r"\{\w+\}", "minutes", path)) for method, path in filled]


def test_every_route_but_health_asks_for_a_key(api: TestClient, scene: SimpleNamespace) -> None:
    guarded = [route for route in routes(api) if "/health/" not in route[1]]
    assert len(guarded) > 20
    for method, path in [*guarded, ("GET", "/api/v2/openapi.json")]:
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-API-Key": "nonsense"}):
            answer = api.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:fileintel:not-authenticated"


@pytest.mark.parametrize("header", [True, False])
def test_a_key_comes_in_either_header(api: TestClient, scene: SimpleNamespace, header: bool) -> None:
    secret = scene.read["Authorization"].removeprefix("Bearer ")
    headers = {"X-API-Key": secret} if header else scene.read
    assert api.get("/api/v2/collections", headers=headers).status_code == 200


def test_scopes(api: TestClient, scene: SimpleNamespace) -> None:
    body = {"name": "new"}
    assert api.post("/api/v2/collections", json=body, headers=scene.read).status_code == 403
    assert api.post("/api/v2/collections", json=body, headers=scene.write).status_code == 201
    assert api.get("/api/v2/keys", headers=scene.write).status_code == 403
    assert api.get("/api/v2/keys", headers=scene.admin).status_code == 200
    assert api.delete("/api/v2/collections/new", headers=scene.read).status_code == 403


def test_a_collection_without_grant_looks_as_if_it_were_not_there(
    api: TestClient, store: Store, scene: SimpleNamespace
) -> None:
    hidden = api.get("/api/v2/collections/secret", headers=scene.granted)
    absent = api.get("/api/v2/collections/nowhere", headers=scene.granted)
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["detail"] == absent.json()["detail"].replace("nowhere", "secret")
    listed = api.get("/api/v2/collections", headers=scene.granted).json()["items"]
    assert [collection["name"] for collection in listed] == ["minutes"]
    run, query = store.run(scene.secret), store.create_query(scene.secret.id, "?", "auto")
    document = store.document(scene.secret, "s.txt", "queued")
    for method, path in (
        ("GET", f"/index-runs/{run.id}"),
        ("POST", f"/index-runs/{run.id}/cancel"),
        ("GET", f"/queries/{query.id}"),
        ("GET", f"/queries/{query.id}/events"),
        ("GET", f"/collections/minutes/documents/{document.id}"),
        ("DELETE", f"/collections/minutes/documents/{document.id}"),
        ("POST", "/collections/secret/documents?name=x.txt"),
        ("POST", "/collections/secret/index-runs"),
        ("DELETE", "/collections/secret"),
    ):
        assert api.request(method, "/api/v2" + path, headers=scene.granted).status_code == 404, path
    assert store.runs[run.id].state == "running" and document.id in store.documents
    work = api.get("/api/v2/tasks", headers=scene.granted).json()
    assert work == {"index_runs": [], "documents": [], "queries": []}
    assert len(api.get("/api/v2/tasks", headers=scene.read).json()["index_runs"]) == 1


def test_a_limited_key_cannot_widen_itself(api: TestClient, scene: SimpleNamespace) -> None:
    assert api.post("/api/v2/collections", json={"name": "new"}, headers=scene.granted).status_code == 403
    for method in ("GET", "POST"):
        assert api.request(method, "/api/v2/keys", json={"name": "x"}, headers=scene.granted_admin).status_code == 403


def test_keys(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    wanted = {"name": "search", "scopes": ["read"], "collections": ["minutes"]}
    made = api.post("/api/v2/keys", json=wanted, headers=scene.admin)
    assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
    assert made.json()["key"]["collections"] == [scene.minutes.id]
    assert "secret" not in api.get("/api/v2/keys", headers=scene.admin).json()["items"][-1]
    assert api.post("/api/v2/keys", json={**wanted, "collections": ["nowhere"]}, headers=scene.admin).status_code == 404
    for bad in ({**wanted, "scopes": ["root"]}, {**wanted, "scopes": []}, {**wanted, "name": " "}, {}, {"nam": "x"}):
        assert api.post("/api/v2/keys", json=bad, headers=scene.admin).status_code == 422
    key_id = made.json()["key"]["id"]
    assert api.delete(f"/api/v2/keys/{key_id}", headers=scene.admin).status_code == 204
    assert api.delete(f"/api/v2/keys/{key_id}", headers=scene.admin).status_code == 404
    own = scene.admin["Authorization"].removeprefix("Bearer ")
    assert api.delete(f"/api/v2/keys/{own}", headers=scene.admin).status_code == 409
