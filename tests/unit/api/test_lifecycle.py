"""Estimates, budgets, checks, exports, communities, replacements: the API's part."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from fileintel import settings
from fileintel.api import estimates, shapes
from fileintel.model import Job
from fileintel.store import blobs
from fileintel.store.completeness import Check

from .conftest import Store

C = "/api/v2/collections/minutes"
ESTIMATED = {**shapes.ESTIMATE, "to_make": 310, "cost": None, "documents_unread": 0}


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["type"]) == (status, f"urn:fileintel:{code}"), answer.text
    return body


def complete(job: Job) -> dict[str, Any]:
    return {"state": "complete", "result": ESTIMATED}


def test_an_estimate_is_the_result_of_a_job(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    store.worker = complete
    answer = api.post(f"{C}/estimate", headers=scene.read)
    assert answer.status_code == 200 and answer.json()["result"] == ESTIMATED
    assert api.get(answer.headers["location"], headers=scene.read).json() == answer.json()
    outsider = store.key("read", collections=(scene.secret.id,))
    problem(api.get(answer.headers["location"], headers=outsider), 404, "not-found")
    problem(api.get("/api/v2/jobs/nowhere", headers=scene.read), 404, "not-found")


def test_an_estimate_that_takes_long_is_looked_up(
    api: TestClient, scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "WAIT_SECONDS", 0.0)
    answer = api.post(f"{C}/estimate", headers=scene.read)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


@pytest.fixture
def asking(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEINTEL_CONFIRM_ABOVE_CALLS", "300")
    settings.load.cache_clear()
    store.worker = complete


def test_a_build_above_the_threshold_is_confirmed_first(
    asking: None, api: TestClient, store: Store, scene: SimpleNamespace
) -> None:
    refused = problem(api.post(f"{C}/index-runs", headers=scene.write), 409, "confirmation-needed")
    assert refused["estimate"] == ESTIMATED and "310" in refused["detail"] and "300" in refused["detail"]
    assert not store.runs
    assert api.post(f"{C}/index-runs", json={"confirmed": True}, headers=scene.write).status_code == 202
    # The second joins what runs: that costs nothing more, so nothing is asked.
    assert api.post(f"{C}/index-runs", headers=scene.write).status_code == 202


def test_a_build_below_the_threshold_begins(
    asking: None, api: TestClient, store: Store, scene: SimpleNamespace
) -> None:
    store.worker = lambda job: {"state": "complete", "result": {**ESTIMATED, "to_make": 300}}
    assert api.post(f"{C}/index-runs", headers=scene.write).status_code == 202


def test_unread_documents_and_failed_estimates_ask_too(
    asking: None, api: TestClient, store: Store, scene: SimpleNamespace
) -> None:
    store.worker = lambda job: {"state": "complete", "result": {**ESTIMATED, "to_make": 0, "documents_unread": 2}}
    assert (
        "2 documents" in problem(api.post(f"{C}/index-runs", headers=scene.write), 409, "confirmation-needed")["detail"]
    )
    store.worker = lambda job: {"state": "failed", "error": "no prompt"}
    assert "no prompt" in problem(api.post(f"{C}/index-runs", headers=scene.write), 500, "estimate")["detail"]
    assert not store.runs


def test_options_and_budgets_reach_the_run(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    wanted = {"recluster": True, "budget_calls": 5}
    run = api.post(f"{C}/index-runs", json=wanted, headers=scene.write).json()
    assert store.rung[-1] == ("index", wanted)
    api.post(f"/api/v2/index-runs/{run['id']}/retry", json={"budget_calls": 9}, headers=scene.write)
    assert store.rung[-1] == ("retry", {"budget_calls": 9, "budget_cost": None})
    for body in ({"budget_cost": 2.5}, {"budget_calls": -1}, {"budget": 5}):
        problem(api.post(f"{C}/index-runs", json=body, headers=scene.write), 422, "input")


def test_a_running_run_tells_what_it_tries_again(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    run = store.run(scene.minutes)
    shown = api.get(f"/api/v2/index-runs/{run.id}", headers=scene.read).json()
    assert shown["retrying"] == [{"step": "extract_graph", "key": "u1", "attempts": 2, "error": "HTTP 500"}]
    done = store.run(scene.minutes, "complete")
    assert api.get(f"/api/v2/index-runs/{done.id}", headers=scene.read).json()["retrying"] == []


def test_a_check_is_complete_only_when_nothing_is_missing(
    api: TestClient, store: Store, scene: SimpleNamespace
) -> None:
    def checked(**parameters: Any) -> dict[str, Any]:
        found: dict[str, Any] = api.get(f"{C}/check", params=parameters, headers=scene.read).json()
        return found

    assert checked() == {"complete": False, "version": None, "checks": [], "run": None, "failures": []}
    store.collection("minutes", version=7)
    store.run(scene.minutes, "complete")
    assert checked()["complete"]
    store.checks = [Check("entities described", 2, 1, ("A",))]
    assert not checked()["complete"] and checked()["checks"][0]["examples"] == ["A"]
    store.checks = []
    store.run(scene.minutes, "failed")
    assert not checked()["complete"] and checked()["failures"][0]["raw_answer"] is None
    assert checked(full=True)["failures"][0]["raw_answer"] == "raw"


def test_an_export_is_written_by_a_worker_and_downloaded(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    problem(api.post(f"{C}/exports", json={"format": "graphml"}, headers=scene.read), 409, "conflict")
    store.collection("minutes", version=7)
    job = api.post(f"{C}/exports", json={"format": "graphml"}, headers=scene.read).json()
    assert job["parameters"] == {"format": "graphml", "version": 7}
    where = f"/api/v2/jobs/{job['id']}/file"
    problem(api.get(where, headers=scene.read), 409, "conflict")
    store.worker = lambda _: {"state": "complete", "result": {"files": ["graph.graphml"]}}
    store.ring_job(job["id"])
    problem(api.get(where, headers=scene.read), 404, "not-found")
    path = blobs.export_path(job["id"])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK archive")
    assert api.get(where, headers=scene.read).content == b"PK archive"
    problem(api.post(f"{C}/exports", json={"format": "csv"}, headers=scene.read), 422, "input")


def test_documents_go_by_name_or_id_and_can_be_replaced(api: TestClient, store: Store, scene: SimpleNamespace) -> None:
    assert api.get(f"{C}/documents/a.txt", headers=scene.read).json()["id"] == scene.document.id
    new = api.post(f"{C}/documents?name=a.txt&replace=true", content=b"new", headers=scene.write).json()
    assert ("replace", new["id"]) in store.rung
    assert "by its id" in problem(api.delete(f"{C}/documents/a.txt", headers=scene.write), 409, "conflict")["detail"]
    assert api.delete(f"{C}/documents/{new['id']}", headers=scene.write).status_code == 204
    assert api.delete(f"{C}/documents/a.txt", headers=scene.write).status_code == 204
    problem(api.get(f"{C}/documents/a.txt", headers=scene.read), 404, "not-found")
