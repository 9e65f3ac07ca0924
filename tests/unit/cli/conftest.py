"""The command line against an API of canned answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from fileintel import cli
from fileintel.cli import client, progress
from fileintel.cli import query as query_command

AT = "2026-03-02T09:30:00Z"
COLLECTION = {
    "id": "c1", "name": "minutes", "description": "", "created_at": AT, "published_version": 7, "documents": 2,
}  # fmt: skip
RUN = {
    "id": 7, "collection_id": "c1", "state": "running", "step": "extract_graph", "created_at": AT,
    "finished_at": None, "error": None, "chat_model": "qwen", "embedding_model": "minilm", "calls": 3,
    "calls_remembered": 2, "tokens_in": 1000, "tokens_out": 50,
    "method": "standard", "claims": False,
}  # fmt: skip
STEP = {"step": "extract_graph", "pending": 5, "leased": 3, "done": 2, "failed": 0}


def document(name: str, state: str = "ready", **more: Any) -> dict[str, Any]:
    return {
        "id": f"d-{name}", "collection_id": "c1", "name": name, "sha256": "0" * 64, "size": 1234, "title": None,
        "media_type": None, "state": state, "pages": 3, "text_units": 4, "error_code": None, "error": None,
        "created_at": AT, **more,
    }  # fmt: skip


def page(*items: Any, next_offset: int | None = None) -> dict[str, Any]:
    return {"items": list(items), "next_offset": next_offset}


def progress_of(state: str = "running", **more: Any) -> dict[str, Any]:
    run = {**RUN, "state": state, "finished_at": None if state == "running" else "2026-03-02T09:31:30Z"}
    return {
        "run": run,
        "steps": [STEP],
        "calls_in_flight": 3,
        "eta_seconds": 90.0,
        "failures": [],
        "retrying": [],
        "unreadable": 0,
        "failing_model_servers": [],
        **more,
    }


def problem(status: int, detail: str) -> httpx.Response:
    body = {"type": "urn:fileintel:x", "title": "x", "status": status, "detail": detail, "instance": "/"}
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


@dataclass
class Answers:
    """What the API answers, by `METHOD path`; a list is answered one by one, its last item for ever."""

    canned: dict[str, Any] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        key = f"{request.method} {request.url.path.removeprefix('/api/v2')}"
        if key not in self.canned:
            return problem(404, f"there is nothing at {key}")
        answer = self.canned[key]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    found = Answers({"GET /collections/minutes": COLLECTION, "GET /collections": page(COLLECTION)})
    found.canned["GET /status"] = {"version": "0", "calls_in_flight": 0, "failing_model_servers": []}
    transport = httpx.MockTransport(found)
    monkeypatch.setattr(client, "connect", lambda: client.Api("http://127.0.0.1:8700", "k", transport))
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(query_command, "_LOOK_AGAIN_SECONDS", 0.0)
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*arguments: str) -> Outcome:
        code = cli.run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
