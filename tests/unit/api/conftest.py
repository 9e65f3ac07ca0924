"""The API over an in-memory store: what is tested here is the translation, not the SQL."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from fileintel import settings
from fileintel.errors import ConflictError, NotFoundError
from fileintel.model import ApiKey, Claim, Collection, Document, IndexRun, Job, Query, Source, StepProgress
from fileintel.store.completeness import Check
from fileintel.store.model_servers import FailingModelServer

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
UNFINISHED = ("queued", "processing")


class Store:
    """Stands for `fileintel.store` and the bells: same functions, dictionaries beneath."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.documents: dict[str, Document] = {}
        self.keys: dict[str, ApiKey] = {}
        self.runs: dict[int, IndexRun] = {}
        self.queries: dict[str, Query] = {}
        self.checks = [Check("entities described", 2, 0, ())]
        self.jobs: dict[str, Job] = {}
        # What comes of a job as soon as it is rung for.
        self.worker: Callable[[Job], dict[str, Any]] = lambda job: {}
        self.rung: list[tuple[str, Any]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.failing: list[FailingModelServer] = []
        self.claims: list[Claim] = []
        self.units: list[Source] = []
        self._numbers = itertools.count(1)

    def key(self, *scopes: str, collections: tuple[str, ...] | None = None) -> dict[str, str]:
        """Make a key and return the header that carries it."""
        secret = f"secret-{next(self._numbers)}"
        self.keys[secret] = ApiKey(secret, secret, scopes, collections, AT)
        return {"Authorization": f"Bearer {secret}"}

    def collection(self, name: str, *, version: int | None = None) -> Collection:
        made = Collection(f"id-{name}", name, "", AT, version)
        self.collections[made.id] = made
        return made

    def document(self, collection: Collection, name: str, state: Any = "ready") -> Document:
        number = next(self._numbers)
        made = Document(f"d{number}", collection.id, name, "0" * 64, 1, None, None, state, None, 0, None, None, AT)
        self.documents[made.id] = made
        return made

    def run(self, collection: Collection, state: Any = "running") -> IndexRun:
        number = next(self._numbers)
        made = IndexRun(number, collection.id, state, "extract_graph", AT, None, None, "m", "e", 3, 1, 20, 10)
        self.runs[number] = made
        return made

    # --- what the API calls

    def get_collection(self, name_or_id: str) -> Collection:
        for collection in self.collections.values():
            if name_or_id in (collection.id, collection.name):
                return collection
        raise NotFoundError("no such row")

    def create_collection(self, name: str, description: str = "") -> Collection:
        if any(collection.name == name for collection in self.collections.values()):
            raise ConflictError(f"a collection named {name!r} exists already")
        return self.collection(name)

    def add_document(
        self, collection_id: str, *, name: str, sha256: str, size: int, replace: bool = False
    ) -> tuple[Document, bool]:
        for document in self.documents.values():
            if (document.collection_id, document.sha256) == (collection_id, sha256):
                return document, False
        made = self.document(self.collections[collection_id], name, "queued")
        made = dataclasses.replace(made, sha256=sha256, size=size)
        self.documents[made.id] = made
        if replace:
            self.rung.append(("replace", made.id))
        return made, True

    def named(self, collection_id: str, name_or_id: str) -> list[Document]:
        held = [d for d in self.documents.values() if d.collection_id == collection_id]
        return [d for d in held if d.id == name_or_id] or [d for d in held if d.name == name_or_id]

    def start_index(self, collection_id: str, options: Any = None) -> IndexRun:
        self.rung.append(("index", options))
        kind = {name: options[name] for name in ("method", "claims") if name in (options or {})}
        made = dataclasses.replace(self.run(self.collections[collection_id]), **kind)
        self.runs[made.id] = made
        return made

    def retry_run(self, run_id: int, **budgets: Any) -> IndexRun:
        self.rung.append(("retry", budgets))
        return self.runs[run_id]

    def create_job(self, collection_id: str, kind: Any, parameters: Any) -> Job:
        number = f"j{next(self._numbers)}"
        self.jobs[number] = Job(number, collection_id, kind, parameters, "queued", None, None, None, AT, None)
        return self.jobs[number]

    def ring_job(self, job_id: str) -> None:
        self.jobs[job_id] = dataclasses.replace(self.jobs[job_id], **self.worker(self.jobs[job_id]))

    def list_documents(
        self, collection_id: str, *, state: str | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Document]:
        found = [d for d in self.documents.values() if d.collection_id == collection_id and state in (None, d.state)]
        return found[offset:][:limit]

    def list_runs(self, collection_id: str, *, limit: int | None = None, offset: int = 0) -> list[IndexRun]:
        return [r for r in self.runs.values() if r.collection_id == collection_id][offset:][:limit]

    def _found(self, where: dict[Any, Any], key: Any) -> Any:
        if key not in where:
            raise NotFoundError("no such row")
        return where[key]

    def create_key(self, name: str, scopes: Any, collections: Any = None) -> tuple[ApiKey, str]:
        self.key(*scopes, collections=None if collections is None else tuple(collections))
        secret = list(self.keys)[-1]
        self.keys[secret] = dataclasses.replace(self.keys[secret], name=name)
        return self.keys[secret], secret

    def create_query(self, collection_id: str, question: str, mode: Any, **options: Any) -> Query:
        number = f"q{next(self._numbers)}"
        self.queries[number] = Query(
            number, collection_id, question, mode, "queued", None, None, None, AT, None, **options
        )
        return self.queries[number]

    def cancel(self, run_id: int) -> IndexRun:
        if self.runs[run_id].state != "running":
            raise ConflictError("the run is not running")
        self.runs[run_id] = dataclasses.replace(self.runs[run_id], state="cancelled")
        return self.runs[run_id]

    def functions(self) -> dict[str, Any]:
        steps = [StepProgress("extract_graph", 90, 150, 352, 0)]
        return {
            "store.collections.list_all": lambda: list(self.collections.values()),
            "store.collections.get": self.get_collection,
            "store.collections.create": self.create_collection,
            "store.collections.delete": lambda id_: self.collections.pop(id_),
            "store.documents.add": self.add_document,
            "store.documents.get": lambda id_: self._found(self.documents, id_),
            "store.documents.list_for": self.list_documents,
            "store.documents.named": self.named,
            "store.documents.unfinished": lambda: [d for d in self.documents.values() if d.state in UNFINISHED],
            "store.documents.states": lambda c: Counter(
                d.state for d in self.documents.values() if d.collection_id == c
            ),
            "store.documents.delete": lambda id_: self.documents.pop(id_),
            "store.keys.authenticate": self.keys.get,
            "store.keys.create": self.create_key,
            "store.keys.list_all": lambda: list(self.keys.values()),
            "store.keys.revoke": lambda id_: self._found(self.keys, id_) and self.keys.pop(id_),
            "store.runs.get": lambda id_: self._found(self.runs, id_),
            "store.runs.list_for": self.list_runs,
            "store.runs.running": lambda: [r for r in self.runs.values() if r.state == "running"],
            "store.runs.progress": lambda id_: steps,
            "store.runs.failures": lambda id_: [],
            "store.runs.calls_in_flight": lambda: 150,
            "store.work.unreadable": lambda id_: 2,
            "store.model_servers.failing": lambda: self.failing,
            "store.runs.cancel": self.cancel,
            "store.runs.latest": lambda c: next(
                (r for r in reversed(self.runs.values()) if r.collection_id == c), None
            ),
            "store.completeness.retrying": lambda id_: [
                {"step": "extract_graph", "key": "u1", "attempts": 2, "error": "HTTP 500"}
            ],
            "store.completeness.checks": lambda c, version, examples: self.checks,
            "store.completeness.failures": lambda id_, full: [
                {"step": "merge", "key": "all", "attempts": 5, "error": "no", "raw_answer": "raw" if full else None}
            ],
            "store.jobs.create": self.create_job,
            "store.jobs.get": lambda id_: self._found(self.jobs, id_),
            "store.queries.get": lambda id_: self._found(self.queries, id_),
            "store.queries.create": self.create_query,
            "store.queries.unfinished": lambda: list(self.queries.values()),
            "store.versions.changed_since": lambda version: True,
            "store.graph.counts": lambda version: {"entities": 2},
            "store.graph.entities": lambda version, limit, offset, search=None: [],
            "store.graph.relationships": lambda version, limit, offset: [],
            "store.graph.communities": lambda version, level, limit, offset: [],
            "store.graph.reports": lambda version, level, limit, offset: [],
            "store.covariates.claims": lambda version, limit, offset, search=None: self.claims[offset : offset + limit],
            "store.retrieval.units": lambda c, ids: [unit for unit in self.units if unit.text_unit_id in ids],
            "store.health.ready": lambda: {"database": "ok", "migrations": "0001"},
            "tasks.bells.ring_document": lambda id_: self.rung.append(("document", id_)),
            "tasks.bells.ring_query": lambda id_: self.rung.append(("query", id_)),
            "tasks.bells.start_index": self.start_index,
            "tasks.bells.retry_run": self.retry_run,
            "tasks.bells.ring_job": self.ring_job,
            "tasks.bells.broker_ready": lambda: None,
            "tasks.events.follow": lambda id_, timeout: iter(self.events),
        }


@pytest.fixture
def blob_dir(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blob_dir: Path) -> Store:
    monkeypatch.setenv("FILEINTEL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("FILEINTEL_BLOB_DIR", str(blob_dir))
    monkeypatch.setenv("FILEINTEL_MAX_DOCUMENT_BYTES", "3000000")
    settings.load.cache_clear()
    fake = Store()
    for dotted, function in fake.functions().items():
        module, name = f"fileintel.{dotted}".rsplit(".", 1)
        monkeypatch.setattr(importlib.import_module(module), name, function)
    return fake


@pytest.fixture
def api(store: Store) -> Iterator[TestClient]:
    from fileintel.api.app import create_app

    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client
    settings.load.cache_clear()


@pytest.fixture
def scene(store: Store) -> SimpleNamespace:
    """A collection `minutes` with a document, and keys of every kind."""
    minutes, secret = store.collection("minutes"), store.collection("secret")
    return SimpleNamespace(
        minutes=minutes,
        secret=secret,
        document=store.document(minutes, "a.txt"),
        read=store.key("read"),
        write=store.key("write"),
        admin=store.key("admin"),
        granted=store.key("write", collections=(minutes.id,)),
        granted_admin=store.key("admin", collections=(minutes.id,)),
    )
