"""`fileintel demo`: start everything, read a small case, build its graph, ask it questions whose answers are known."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fileintel.demo.page import Page
    from fileintel.demo.story import Api as Client
    from fileintel.demo.story import Story

app = typer.Typer()
EXTRACTIVE = "fileintel-extractive"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@app.command()
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, the story on stderr.")] = False,
) -> None:
    """Show FileIntel at work on a made-up case; exit code 1 if an answer lacks the known fact."""
    from fileintel.demo.case import documents, load_case
    from fileintel.demo.page import Page
    from fileintel.demo.story import Story

    began = time.monotonic()
    case = load_case()

    def write(text: str, style: str) -> None:
        body = text.strip("\n")
        if style and body:
            # Only the words are styled, so that a style never runs over a line's end.
            text = text.replace(body, typer.style(body, bold=style == "strong", dim=style == "faint"))
        typer.echo(text, nl=False, err=as_json)
        (sys.stderr if as_json else sys.stdout).flush()

    page = Page(write)
    formats = {path.suffix for path in documents()}
    page.blank()
    page.line(f"FileIntel demonstration: {case.title}", strong=True)
    page.line(f"{case.summary} {len(documents())} documents in {len(formats)} formats.")
    page.heading("Services")
    with _service(page) as (api, where, tick):
        started = time.monotonic() - began
        story = Story(api, case, page, tick)
        story.seconds["services"] = started
        story.tell()
        _close(page, story, where, time.monotonic() - began)
    if as_json:
        outcome = {
            "right": not story.faults,
            "faults": story.faults,
            "models": story.models,
            "seconds": {name: round(seconds, 2) for name, seconds in story.seconds.items()},
            "counts": story.counts,
            "answers": story.answers,
        }
        typer.echo(json.dumps(outcome, ensure_ascii=False, indent=2))
    if story.faults:
        raise typer.Exit(1)


def _close(page: Page, story: Story, where: str, seconds: float) -> None:
    """Say what it came to: models, seconds, and where to go next."""
    page.heading("Outcome")
    if story.faults:
        for fault in story.faults:
            page.text(f"WRONG: {fault}", strong=True)
    else:
        page.line("every known fact was found and cited, and the unanswerable question was refused", strong=True)
    chat, embedding = story.models["chat"], story.models["embedding"]
    page.line(f"language model   {chat}")
    if chat == EXTRACTIVE:
        page.line("                 it quotes the documents and writes no sentence of its own; no LLM was used")
    page.line(f"embedding model  {embedding}")
    spent = ", ".join(f"{name} {spent:.1f}" for name, spent in story.seconds.items())
    page.line(f"seconds          {spent}; {seconds:.1f} in all")
    page.line(f"ran on           {where}")
    page.heading("Where to go next")
    program = _program()
    for what, how in (
        ("run it to stay", f"{program} up"),
        ("your own documents", f"{program} collection create NAME; {program} document add NAME FILES…"),
        ("build the graph", f"{program} graphrag index NAME --wait"),
        ("ask", f'{program} query NAME "your question"'),
        ("from a program", f"API and its documentation at …/api/v2/docs of the address `{program} up` prints"),
        ("with a real LLM", f"OPENAI_BASE_URL=http://HOST:PORT/v1 FILEINTEL_CHAT_MODEL=NAME {program} up"),
        ("every setting", f"{program} config show"),
    ):
        page.line(f"{what:<20}{how}")
    page.blank()


def _program() -> str:
    """How this was called, so that a line shown here can be typed as it is."""
    called = Path(sys.argv[0])
    beside = Path(sys.executable).with_name("fileintel")
    # Where a wrapper around it was called, as Nix makes one, the wrapped file lacks the libraries.
    if called.is_file() and beside.is_file() and not called.samefile(beside):
        called = beside
    found = shutil.which("fileintel")
    if not called.is_file() or (found is not None and called.samefile(found)):
        return "fileintel"
    return str(called)


class _Stopped(Exception):
    """Ctrl-C, or the system asked the demonstration to end."""


@contextlib.contextmanager
def _service(page: Page) -> Iterator[tuple[Client, str, Callable[[], None]]]:
    """An API to tell the story to, where it runs, and what to call while waiting.

    With FILEINTEL_API_URL set in the environment that FileIntel is used, else one is started on a state folder of the
    demonstration's own, and stopped at the end.
    """
    from fileintel import settings as declared
    from fileintel.cli.client import Api, connect
    from fileintel.cli.up import create_key

    if os.environ.get("FILEINTEL_API_URL", "").strip():
        with connect() as api:
            page.line(f"using the FileIntel at {api.url} (FILEINTEL_API_URL)")
            yield api, api.url, lambda: None
        return

    from fileintel.embedded.supervisor import Interrupted, StopRequests
    from fileintel.embedded.up import running

    environment = dict(os.environ)
    declared.refuse_unknown(environment, "the environment")
    folder = declared.read(environment).state_dir / "demo"
    # Not load(): the environment file of a `fileintel up` that runs beside this must not lead here.
    own = declared.read({**environment, "FILEINTEL_STATE_DIR": str(folder)})
    page.line("starting Postgres, the broker, the API and both workers on this machine", faint=True)
    requests = StopRequests()
    try:
        with (
            requests.caught(),
            running(own, create_key=create_key, say=page.line, requests=requests) as (values, supervisor),
            _stop_promptly(),
            Api(values["FILEINTEL_API_URL"], values["FILEINTEL_API_KEY"]) as api,
        ):
            yield api, str(folder), supervisor.check
    except (_Stopped, Interrupted):
        page.line("stopped")
        raise typer.Exit(130) from None


@contextlib.contextmanager
def _stop_promptly() -> Iterator[None]:
    """Let a signal break off whatever the story waits for; outside, the supervisor counts signals while it stops."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
