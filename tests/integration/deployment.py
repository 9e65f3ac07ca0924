"""A whole FileIntel for tests: real Postgres, real broker, both workers by the product's own command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from llm_server import ScriptedServer

from fileintel.model import Collection, Document, IndexRun
from fileintel.settings import load
from fileintel.store import blobs, collections, documents, keys, queries, runs, workers
from fileintel.tasks import bells, events
from fileintel.tasks.app import app

V2 = "/api/v2"


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the condition's first true value; fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def beat(name: str) -> None:
    """Make a name known to the workers' reaper, which takes what is leased by names that it does not know."""
    workers.beat(name, name=name, host="h", pid=os.getpid(), in_flight=0, call_limit=0, longest_stall_ms=0.0, by="")


@dataclass
class Deployment:
    """Servers, workers and the shortest way to use them from a test."""

    llm: ScriptedServer
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a worker by the product's command and wait until it takes tasks."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            before = output.tell()
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "fileintel", "worker", name], stdout=output, stderr=output
            )

        def ready() -> bool:
            if self.processes[name].poll() is not None:
                raise AssertionError(f"worker {name} ended: {log.read_text()[-2000:]}")
            return b" ready." in log.read_bytes()[before:]

        wait_for(ready, 120, f"worker {name} ready")

    def serve(self) -> Api:
        """Start the API by the product's command, make an admin key and wait until it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = self.folder / "api.log"
        with log.open("ab") as output:
            self.processes["api"] = subprocess.Popen(
                [sys.executable, "-m", "fileintel", "api", "--port", str(port)], stdout=output, stderr=output
            )
        _, secret = keys.create("integration tests", ["admin"])
        api = Api(f"http://127.0.0.1:{port}", secret, self.folder)

        def ready() -> bool:
            if self.processes["api"].poll() is not None:
                raise AssertionError(f"the API ended: {log.read_text()[-2000:]}")
            try:
                return api.client().get("/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(ready, 120, "API ready")
        return api

    def renew(self, name: str) -> None:
        """Stop a worker as an operator would and start another, which has learned nothing yet of the LLM server."""
        self.processes[name].terminate()
        self.processes[name].wait(60)
        self.start(name)

    def kill(self, name: str) -> None:
        """SIGKILL a worker, as the kernel does when memory runs out."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(60)

    def stop(self) -> None:
        """Stop every worker still running."""
        alive = [process for process in self.processes.values() if process.poll() is None]
        for process in alive:
            process.terminate()
        for process in alive:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(60)

    def upload(self, collection: Collection, name: str, data: bytes) -> Document:
        """Enter a file's bytes and have them read."""
        writer = blobs.BlobWriter(load().blob_dir, load().max_document_bytes)
        writer.write(data)
        written = writer.commit()
        document, _ = documents.add(collection.id, name=name, sha256=written[0], size=written[1])
        bells.ring_document(document.id)
        return document

    def collection(self, name: str, texts: Iterable[str]) -> Collection:
        """A collection of these texts, all read."""
        made = collections.create(name)
        for number, text in enumerate(texts):
            self.upload(made, f"{name}-{number:03}.txt", text.encode())
        self.settle(made)
        return made

    def settle(self, collection: Collection, seconds: float = 180) -> list[Document]:
        """Wait until every document is ready or failed."""
        wait_for(
            lambda: all(d.state in ("ready", "failed") for d in documents.list_for(collection.id)),
            seconds,
            "reading all documents",
        )
        return documents.list_for(collection.id)

    def finish(self, run: IndexRun, seconds: float = 180) -> IndexRun:
        """Wait until a run has ended, however."""
        wait_for(lambda: runs.get(run.id).state != "running", seconds, f"end of index run {run.id}")
        return runs.get(run.id)

    def build(self, collection: Collection) -> IndexRun:
        """Build a collection's index to the end."""
        return self.finish(bells.start_index(collection.id))

    def ask(
        self, collection: Collection, question: str, mode: Any, **options: Any
    ) -> tuple[list[tuple[str, dict[str, Any]]], Any]:
        """Ask and return (all events, the stored query)."""
        query = queries.create(collection.id, question, mode, **options)
        bells.ring_query(query.id)
        heard = [event for event in events.follow(query.id, 120) if event[0] != "wait"]
        return heard, queries.get(query.id)

    def workers(self, pool: str) -> list[dict[str, Any]]:
        """The living worker processes of a pool."""
        return [worker for worker in workers.living() if pool in str(worker["name"])]


@dataclass
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


@dataclass
class Api:
    """A running API, and the two ways to it: HTTP and the command line."""

    base_url: str
    key: str
    state_dir: Path

    def client(self, key: str | None = None) -> httpx.Client:
        """An HTTP client with the admin key, another, or none ("")."""
        secret = self.key if key is None else key
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60, trust_env=False)

    def cli(self, *arguments: str | Path, key: str | None = None) -> Outcome:
        """Run `fileintel` as on another machine: it knows the API's address and a key, and no database."""
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        known |= {
            "FILEINTEL_API_URL": self.base_url,
            "FILEINTEL_API_KEY": self.key if key is None else key,
            "FILEINTEL_STATE_DIR": str(self.state_dir / "elsewhere"),
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        }
        command = [sys.executable, "-m", "fileintel", *map(str, arguments)]
        done = subprocess.run(command, env=known, capture_output=True, stdin=subprocess.DEVNULL, timeout=240)
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def problem(answer: httpx.Response, status: int, code: str) -> str:
    """Check that the answer is this problem, and return its detail, which is one line."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"urn:fileintel:{code}", status)
    assert body["detail"].strip() and "\n" not in body["detail"]
    return str(body["detail"])


def settled(client: httpx.Client, collection: str, seconds: float = 120) -> dict[str, dict[str, Any]]:
    """Wait until every document is read, and return them by name."""

    def documents() -> list[dict[str, Any]]:
        return client.get(f"{V2}/collections/{collection}/documents", params={"limit": 1000}).json()["items"]

    wait_for(lambda: all(d["state"] in ("ready", "failed") for d in documents()), seconds, "reading all documents")
    return {document["name"]: document for document in documents()}


def streamed(client: httpx.Client, query_id: str) -> list[tuple[str, Any]]:
    """Follow an answer to its end."""
    heard: list[tuple[str, Any]] = []
    with client.stream("GET", f"{V2}/queries/{query_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in stream.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                heard.append((kind, json.loads(value)))
    return heard


def ask(client: httpx.Client, collection: str, question: str, mode: str) -> list[tuple[str, Any]]:
    """Ask over HTTP and follow the answer to its end."""
    asked = client.post(f"{V2}/collections/{collection}/queries", json={"question": question, "mode": mode})
    assert asked.status_code == 202, asked.text
    return streamed(client, asked.json()["id"])


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables, and settings read from them, for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    load.cache_clear()
    # The application may have been imported before there was a broker.
    app.conf.broker_url = load().redis_url
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        load.cache_clear()
        app.conf.broker_url = load().redis_url
