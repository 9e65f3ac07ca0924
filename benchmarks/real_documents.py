"""Ask FileIntel about documents nobody here wrote, on its embedded models, and judge answers and citations.

`python benchmarks/real_documents.py` downloads three Debian documentation packages (`apt-get download`; nothing is
installed), starts FileIntel on a state folder of its own, reads a PDF of 113 pages, an EPUB and 60 HTML pages, builds
the graph, and asks the questions of `real_documents.toml` through the API. An answer is right if it says the fact and
one of its citations leads to the document and the page or section where the fact stands, with a quote that holds it.
Exit code 1 if fewer than 8 in 10 of a set's questions are answered right, or one that cannot be answered is.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PACKAGES = ("installation-guide-amd64", "developers-reference", "debian-handbook")
HTML_PAGES = 60
ENOUGH = 0.8
COLLECTION = "real-documents"
# A document, a build or an answer that does not come on for this long will not come any more.
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fact stands: a document, with a page or a part of the headings' path if that is to be checked."""

    document: str
    page: int | None = None
    section: str = ""

    def holds(self, citation: Mapping[str, Any]) -> bool:
        """Whether a citation leads here."""
        return (
            citation["document_name"] == self.document
            and self.page in (None, citation["page"])
            and self.section in (citation["heading"] or "")
        )

    def __str__(self) -> str:
        return f"{self.document}{'' if self.page is None else f' p. {self.page}'} {self.section}".strip()


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a set; without `fact` (a regular expression) it cannot be answered from the documents."""

    set: str
    question: str
    fact: str | None = None
    places: tuple[Place, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What came of a question: right, or what was wrong with the answer."""

    question: Question
    verdict: str
    seconds: float
    answer: str
    mode: str
    citations: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether it was answered, or refused, as it should be."""
        return self.verdict == "right"


def questions(path: Path, wanted: Sequence[str] = ()) -> list[Question]:
    """Return the questions of a file, of the wanted sets only if any are given."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    read = [
        Question(
            entry.get("set", path.stem),
            entry["question"],
            entry.get("fact"),
            tuple(Place(**place) for place in entry.get("places", ())),
        )
        for entry in entries
    ]
    return [question for question in read if not wanted or question.set in wanted]


def judge(question: Question, answer: Mapping[str, Any]) -> str:
    """Return "right" or what is wrong with an answer of the API."""
    if question.fact is None:
        return "right" if answer["refused"] and not answer["citations"] else "answered, though the documents do not say"
    if answer["refused"]:
        return "refused, though the documents say it"
    fact = re.compile(question.fact, re.IGNORECASE)
    if not fact.search(answer["text"]):
        return "the fact is not in the answer"
    holding = [citation for citation in answer["citations"] if fact.search(citation["quote"])]
    if not holding:
        return "no citation's quote holds the fact"
    if not any(place.holds(citation) for place in question.places for citation in holding):
        return "the citation leads to another place"
    return "right"


def download(folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Get the packages with apt and unpack them into the folder; returns their versions."""
    say(f"downloading {', '.join(PACKAGES)} with apt-get")
    got = subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=folder, capture_output=True, text=True)
    if got.returncode != 0:
        last = (got.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"apt-get download failed ({last}): run `apt-get update` first, or give --documents")
    versions = {}
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
        shown = subprocess.run(
            ["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(package)],
            check=True,
            capture_output=True,
            text=True,
        )
        name, _, version = shown.stdout.partition(" ")
        versions[name] = version
    for packed in sorted(folder.rglob("install.en.pdf.gz")):  # Debian packs long documentation
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    return versions


def chosen(folder: Path) -> list[Path]:
    """Return the documents to read: the English guide, the book, and the longest pages of the handbook."""

    def one(name: str) -> Path:
        found = sorted(folder.rglob(name))
        if not found:
            raise SystemExit(f"there is no {name} under {folder}: give the folder the packages were unpacked into")
        return found[0]

    pages = list(one("debian-handbook/html/en-US").glob("*.html"))
    pages.sort(key=lambda page: (-page.stat().st_size, page.name))
    return [one("install.en.pdf"), one("developers-reference.epub"), *sorted(pages[:HTML_PAGES])]


@contextlib.contextmanager
def service(folder: Path, say: Callable[[str], None]) -> Iterator[Any]:
    """Run FileIntel on a state folder, on nothing but what it brings along, and yield a client of its API."""
    from fileintel import settings as declared
    from fileintel.cli.client import Api
    from fileintel.cli.up import create_key
    from fileintel.embedded.up import running

    # Not the caller's servers and models: what is judged are the embedded defaults.
    ours = {name for name in os.environ if name.startswith(("FILEINTEL_", "OPENAI_"))} | {"DATABASE_URL", "REDIS_URL"}
    for name in ours:
        os.environ.pop(name, None)
    own = declared.read({**os.environ, "FILEINTEL_STATE_DIR": str(folder)})
    with (
        running(own, create_key=create_key, say=say) as (values, _),
        Api(values["FILEINTEL_API_URL"], values["FILEINTEL_API_KEY"]) as api,
    ):
        yield api


def ingest(api: Any, documents: Sequence[Path], say: Callable[[str], None]) -> list[Mapping[str, Any]]:
    """Send the documents and wait until all are read."""
    if not any(held["name"] == COLLECTION for held in api.items("/collections")):
        api.post("/collections", {"name": COLLECTION})
    for document in documents:
        api.upload(COLLECTION, document, document.name)

    def read() -> tuple[bool, object]:
        found = api.items(f"/collections/{COLLECTION}/documents")
        failed = [f"{document['name']}: {document['error']}" for document in found if document["state"] == "failed"]
        if failed:
            raise SystemExit(f"could not be read: {'; '.join(failed)}")
        ready = sum(document["state"] == "ready" for document in found)
        return ready == len(found), f"{ready} of {len(found)} documents read"

    _wait(read, say)
    return list(api.items(f"/collections/{COLLECTION}/documents"))


def build(api: Any, say: Callable[[str], None]) -> dict[str, int]:
    """Build the index and return what the graph holds."""
    run = api.post(f"/collections/{COLLECTION}/index-runs")

    def built() -> tuple[bool, object]:
        progress = api.get(f"/index-runs/{run['id']}")
        state = progress["run"]["state"]
        if state not in ("running", "complete"):
            raise SystemExit(f"the build {state}: {progress['run']['error']}")
        done = {step["step"]: step["done"] for step in progress["steps"]}
        return state == "complete", f"{progress['run']['step']} {done.get(progress['run']['step'], '')}".strip()

    _wait(built, say)
    return dict(api.get(f"/collections/{COLLECTION}/graph")["counts"])


def ask(api: Any, question: Question, mode: str) -> Outcome:
    """Put a question and judge the answer."""
    began = time.monotonic()
    query = api.post(f"/collections/{COLLECTION}/queries", {"question": question.question, "mode": mode})
    answer: Mapping[str, Any] | None = None
    for kind, data in api.events(f"/queries/{query['id']}/events"):
        if kind == "error":
            return Outcome(question, f"failed: {data['detail']}", time.monotonic() - began, "", mode)
        if kind == "answer":
            answer = data
            break
    seconds = time.monotonic() - began
    if answer is None:
        return Outcome(question, "failed: the answer broke off", seconds, "", mode)
    shown = [
        f"[{c['number']}] {c['document_name']}{'' if c['page'] is None else ' p. ' + str(c['page'])}"
        f" ({(c['heading'] or '').rpartition(' > ')[2]}): {' '.join(c['quote'].split())[:160]}"
        for c in answer["citations"]
    ]
    return Outcome(question, judge(question, answer), seconds, answer["text"], answer["mode"], shown)


def _wait(look: Callable[[], tuple[bool, object]], say: Callable[[str], None]) -> None:
    moved, before, said = time.monotonic(), None, 0.0
    while True:
        done, state = look()
        now = time.monotonic()
        if state != before:
            moved, before = now, state
        if done or now - said > 15:
            say(str(state))
            said = now
        if done:
            return
        if now - moved > PATIENCE_SECONDS:
            raise SystemExit(f"nothing moves any more: {state}")
        time.sleep(0.5)


def report(outcomes: Sequence[Outcome], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Print a table and return the totals per set."""
    totals: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        question = outcome.question
        total = totals.setdefault(
            question.set,
            {"answered_right": 0, "answerable": 0, "refused": 0, "unanswerable": 0, "seconds_mean": 0.0},
        )
        answerable = question.fact is not None
        total["answerable" if answerable else "unanswerable"] += 1
        total["answered_right" if answerable else "refused"] += outcome.right
        total["seconds_mean"] += outcome.seconds
        say("")
        mark = "ok   " if outcome.right else "WRONG"
        say(f"{mark} {question.set} · {question.question}  ({outcome.mode}, {outcome.seconds:.1f} s)")
        if not outcome.right:
            say(f"      {outcome.verdict}; expected {question.fact or 'a refusal'}")
            for place in question.places:
                say(f"      at {place}")
        say(f"      {outcome.answer}")
        for citation in outcome.citations:
            say(f"      {citation}")
    say("")
    for name, total in totals.items():
        asked = total["answerable"] + total["unanswerable"]
        total["seconds_mean"] = round(total["seconds_mean"] / asked, 2)
        total["passed"] = (
            total["answered_right"] >= ENOUGH * total["answerable"] and total["refused"] == total["unanswerable"]
        )
        say(
            f"{name}: {total['answered_right']} of {total['answerable']} answered right, {total['refused']} of "
            f"{total['unanswerable']} refused, {total['seconds_mean']} s a question"
        )
    return totals


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, help="where the packages are unpacked already; nothing is downloaded")
    parser.add_argument("--state", type=Path, help="FileIntel's state folder, kept; without it a temporary one")
    parser.add_argument("--questions", type=Path, default=Path(__file__).with_suffix(".toml"))
    parser.add_argument("--set", action="append", default=[], help="ask only this set; may be repeated")
    parser.add_argument("--mode", default="auto", choices=("auto", "basic", "local", "global"))
    parser.add_argument("--no-graph", action="store_true", help="ask without having built the graph")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, the text on stderr")
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)

    with contextlib.ExitStack() as kept:

        def folder(name: str) -> Path:
            made = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix=f"fileintel-{name}-")))
            made.chmod(0o755)  # as root, Postgres runs as another user, and so does apt
            return made

        asked = questions(options.questions, options.set)
        unpacked = options.documents or folder("documents")
        versions = {} if options.documents else download(unpacked, say)
        documents = chosen(unpacked)
        seconds: dict[str, float] = {}

        @contextlib.contextmanager
        def timed(name: str) -> Iterator[None]:
            began = time.monotonic()
            yield
            seconds[name] = round(time.monotonic() - began, 1)

        with service(options.state or folder("state"), say) as api:
            with timed("ingest"):
                read = ingest(api, documents, say)
            counts = {}
            if not options.no_graph:
                with timed("index"):
                    counts = build(api, say)
            with timed("questions"):
                outcomes = [ask(api, question, options.mode) for question in asked]
    totals = report(outcomes, say)
    say(f"seconds: {', '.join(f'{name} {spent}' for name, spent in seconds.items())}")
    if options.json:
        outcome = {
            "packages": versions,
            "documents": len(read),
            "pdf_pages": sum(document["pages"] or 0 for document in read),
            "text_units": sum(document["text_units"] for document in read),
            "graph": counts,
            "seconds": seconds,
            "totals": totals,
            "outcomes": [{**asdict(o), "right": o.right} for o in outcomes],
        }
        print(json.dumps(outcome, ensure_ascii=False, indent=1))
    return 0 if all(total["passed"] for total in totals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
