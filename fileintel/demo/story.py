"""Tells the demonstration: documents in, graph built, questions answered and judged; it only speaks to the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from fileintel.demo.case import Case, Question, documents, judge
from fileintel.demo.page import Page
from fileintel.errors import ServiceError

# A document or an index that shows no progress for this long will not come any more.
PATIENCE_SECONDS = 300
LINE_EVERY_SECONDS = 5.0
MODES = {
    "basic": "basic: the passages nearest to the question",
    "local": "local: the people and things named in the question, and what the graph links to them",
    "global": "global: the reports on all communities of the graph",
}


class Api(Protocol):
    """What the story needs of the API's client; paths are below /api/v2, errors are FileIntelErrors."""

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a GET."""
        ...

    def post(self, path: str, body: object = None) -> Any:
        """Return the JSON of a POST."""
        ...

    def delete(self, path: str) -> None:
        """Delete what is at a path."""
        ...

    def items(self, path: str, most: int | None = None, **parameters: Any) -> list[Any]:
        """Return a list's items, up to `most`."""
        ...

    def upload(self, collection: str, path: Path, name: str) -> tuple[dict[str, Any], bool]:
        """Send a file; return the document and whether it is new to the collection."""
        ...

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield the events of a stream: delta, restart, answer, error."""
        ...


class Story:
    """One run of the demonstration over an API; `tick` is called whenever it waits."""

    def __init__(self, api: Api, case: Case, page: Page, tick: Callable[[], None] = lambda: None) -> None:
        self.api = api
        self.case = case
        self.page = page
        self._tick = tick
        self.counts: dict[str, int] = {}
        self.answers: list[Mapping[str, Any]] = []
        self.seconds: dict[str, float] = {}
        self.faults: list[str] = []
        self.models: dict[str, str] = {}

    @property
    def root(self) -> str:
        """The collection's path."""
        return f"/collections/{self.case.collection}"

    def tell(self) -> None:
        """Run all chapters; what is wrong with the answers is in `faults` afterwards."""
        with self.chapter("documents", "Documents"):
            self.add_documents()
        with self.chapter("graph", "Knowledge graph"):
            self.build()
            self.show_graph()
        with self.chapter("questions", "Questions"):
            for number, question in enumerate((q for q in self.case.questions if q.demo), 1):
                self.ask(number, question)

    @contextmanager
    def chapter(self, name: str, title: str) -> Iterator[None]:
        """Head a part of the story and time it."""
        self.page.heading(title)
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started

    def _wait(self) -> None:
        self._tick()
        time.sleep(0.25)

    # --- documents ---------------------------------------------------------------------------

    def add_documents(self) -> None:
        """Make the collection if it is not there, send the documents and wait until they are read."""
        if not any(held["name"] == self.case.collection for held in self.api.items("/collections")):
            self.api.post("/collections", {"name": self.case.collection, "description": self.case.summary})
        new = sum(self._send(path) for path in documents())
        found = self._wait_for_documents()
        for document in found:
            pages = "" if document["pages"] is None else f"{document['pages']} pages"
            self.page.line(f"{document['name']:<30}{pages:>9}{document['text_units']:>5} text units")
        units = sum(document["text_units"] for document in found)
        known = f"{new} new, {len(documents()) - new} known from before" if new else "all known from before"
        self.page.line(f"{len(found)} documents, {units} text units ({known})", strong=True)

    def _send(self, path: Path) -> bool:
        """Send a document; one that an earlier run failed on is taken out first, so that it is read anew."""
        document, new = self.api.upload(self.case.collection, path, path.name)
        if document["state"] == "failed":
            self.api.delete(f"{self.root}/documents/{document['id']}")
            _, new = self.api.upload(self.case.collection, path, path.name)
        return new

    def _wait_for_documents(self) -> list[Mapping[str, Any]]:
        wanted = {path.name for path in documents()}
        said, moved, left_before = 0.0, time.monotonic(), -1
        while True:
            listed = self.api.items(f"{self.root}/documents")
            found = sorted((d for d in listed if d["name"] in wanted), key=lambda d: str(d["name"]))
            for document in found:
                if document["state"] == "failed":
                    raise ServiceError(f"{document['name']} could not be read: {document['error']}")
            left = [document for document in found if document["state"] != "ready"]
            if not left:
                return found
            now = time.monotonic()
            if len(left) != left_before:
                moved, left_before = now, len(left)
            if now - moved > PATIENCE_SECONDS:
                raise ServiceError(
                    f"{left[0]['name']} has been {left[0]['state']} for {PATIENCE_SECONDS} s: is the "
                    "main worker running?"
                )
            if now - said >= LINE_EVERY_SECONDS:
                self.page.line(f"{len(found) - len(left)} of {len(found)} read", faint=True)
                said = now
            self._wait()

    # --- graph -------------------------------------------------------------------------------

    def build(self) -> None:
        """Start the index build, or join the one that runs, and follow it to its end."""
        run = self.api.post(f"{self.root}/index-runs")
        path = f"/index-runs/{run['id']}"
        said, step_before = 0.0, ""
        signature: tuple[Any, ...] = ()
        moved = time.monotonic()
        while True:
            progress = self.api.get(path)
            run = progress["run"]
            if run["state"] != "running":
                break
            now = time.monotonic()
            steps = {step["step"]: step for step in progress["steps"]}
            seen = (run["step"], *((s["step"], s["done"], s["failed"]) for s in progress["steps"]))
            if seen != signature:
                signature, moved = seen, now
            if now - moved > PATIENCE_SECONDS:
                raise ServiceError(f"the build stands at {run['step']} for {PATIENCE_SECONDS} s: are both workers up?")
            if run["step"] != step_before or now - said >= LINE_EVERY_SECONDS:
                self.page.line(_progress_line(run, steps.get(run["step"]), progress), faint=True)
                said, step_before = now, run["step"]
            self._wait()
        if run["state"] != "complete":
            raise ServiceError(f"the build {run['state']}: {run['error'] or 'no reason was given'}")
        self.models |= {"chat": run["chat_model"], "embedding": run["embedding_model"]}
        asked = run["calls"] + run["calls_remembered"]
        self.page.line(
            f"version {run['id']}: {asked:,} model calls wanted, {run['calls_remembered']:,} of them remembered from "
            f"before; {run['tokens_in'] + run['tokens_out']:,} tokens"
        )

    def show_graph(self) -> None:
        """Print how much the graph holds and samples of it."""
        self.counts = dict(self.api.get(f"{self.root}/graph")["counts"])
        self.page.line(", ".join(f"{count:,} {name}" for name, count in self.counts.items()), strong=True)
        entities = self.api.items(f"{self.root}/entities", most=200)
        entities.sort(key=lambda entity: (-entity["degree"], entity["title"]))
        self.page.line("most connected entities", faint=True)
        for entity in entities[:8]:
            self.page.line(f"  {entity['title']:<40} {entity['type'].lower():<13}{entity['degree']:>4} links")
        reports = self.api.items(f"{self.root}/reports", most=200)
        reports.sort(key=lambda report: (-report["rank"], report["title"]))
        self.page.line("highest rated community reports", faint=True)
        for report in reports[:5]:
            self.page.line(f"  {report['rank']:>4.1f}  {report['title']}")

    # --- questions ---------------------------------------------------------------------------

    def ask(self, number: int, question: Question) -> None:
        """Put a question, print the answer as it comes, and judge it."""
        self.page.blank()
        self.page.text(f"{number}. {question.question}", strong=True)
        started = time.monotonic()
        query = self.api.post(f"{self.root}/queries", {"question": question.question, "mode": question.mode})
        answer: Mapping[str, Any] | None = None
        stream = self.page.stream()
        for kind, data in self.api.events(f"/queries/{query['id']}/events"):
            self._tick()
            if kind == "delta":
                stream.push(data["text"])
            elif kind == "restart":
                stream.restart()
            elif kind == "error":
                raise ServiceError(f"“{question.question}” was not answered: {data['detail']}")
            elif kind == "answer":
                answer = data
                break
        if answer is None:
            raise ServiceError(f"the answer to “{question.question}” broke off")
        # Without pieces (a server that does not stream, or an answer from before) the whole is printed at once.
        if not stream.pushed:
            stream.push(answer["text"])
        stream.finish()
        for citation in answer["citations"]:
            self.page.citation(citation)
        seconds = time.monotonic() - started
        self.page.line(f"{MODES.get(answer['mode'], answer['mode'])} · {seconds:.1f} s", faint=True)
        self.answers.append(answer)
        faults = judge(question, answer)
        if faults:
            for fault in faults:
                self.page.line(f"WRONG: {fault}", strong=True)
            self.faults += [f"question {number}: {fault}" for fault in faults]
        elif question.answerable:
            self.page.line("right: the known fact is there, and a citation leads to it")
        else:
            self.page.line("right: the documents do not say this, and it was refused")
        self.models |= {"chat": answer["chat_model"], "embedding": answer["embedding_model"]}


def _progress_line(run: Mapping[str, Any], step: Mapping[str, Any] | None, progress: Mapping[str, Any]) -> str:
    parts = [f"{run['step']:<26}"]
    if step is not None:
        total = step["pending"] + step["leased"] + step["done"] + step["failed"]
        parts.append(f"{step['done']} of {total}")
    if progress["calls_in_flight"]:
        parts.append(f"{progress['calls_in_flight']} calls in flight")
    if progress["eta_seconds"] is not None:
        parts.append(f"about {progress['eta_seconds']:.0f} s left")
    return " · ".join(parts)
