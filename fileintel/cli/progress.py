"""Live progress on stderr: a display at a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from fileintel.cli import output
from fileintel.errors import FileIntelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fileintel.cli.client import Api

_POLL_SECONDS = 0.5
# A log is not a display: a line is due when something changed, and not more often than this.
_LINE_SECONDS = 5.0


class JobFailedError(FileIntelError):
    """An estimate or an export could not be made."""

    title = "job"


class Waited(Protocol):
    """A document that is waited for."""

    document: dict[str, Any] | None


def live() -> bool:
    """Whether stderr is a terminal that can redraw."""
    return sys.stderr.isatty()


class Uploads:
    """Says which file is on its way and how much was sent."""

    def __init__(self, files: int, quiet: bool) -> None:
        self._bar: Any = None
        self._task: Any = None
        if quiet or not live() or files == 0:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        sent = TextColumn("{task.fields[sent]}", markup=False)
        self._bar = Progress(*columns, sent, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=files, sent="")
        self._bytes = 0

    def __enter__(self) -> Uploads:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begins(self, name: str) -> None:
        """Note the file that is sent now."""
        if self._bar is not None:
            self._bar.update(self._task, description=output.shorten(name, 40))

    def sent(self, size: int) -> None:
        """Note bytes sent."""
        if self._bar is not None:
            self._bytes += size
            self._bar.update(self._task, sent=output.amount(self._bytes))

    def ends(self) -> None:
        """Note that the file is done with."""
        if self._bar is not None:
            self._bar.advance(self._task)


class Status:
    """One changing line: redrawn at a terminal, else printed when it changed and some seconds went by."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = ""
        self._at = float("-inf")
        self._spinner: Any = None
        if not quiet and live():
            from rich.console import Console

            self._spinner = Console(stderr=True).status("")

    def __enter__(self) -> Status:
        if self._spinner is not None:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def show(self, text: str, *, now: bool = False) -> None:
        """Show the line; `now` prints it even if the last one is seconds old."""
        if self._quiet or text == self._shown:
            return
        if self._spinner is not None:
            from rich.text import Text

            self._spinner.update(Text(output.plain(text)))
        elif now or time.monotonic() - self._at >= _LINE_SECONDS:
            output.note(text)
            self._at = time.monotonic()
        else:
            return
        self._shown = text


def wait_for_documents(api: Api, collection: str, added: Sequence[Waited], quiet: bool) -> None:
    """Wait until every document that was taken is ready or failed, and put its last state in its place."""
    from fileintel.cli.client import part

    where = f"/collections/{part(collection)}/documents"
    with Status(quiet) as status:
        while True:
            waiting = [a for a in added if a.document and a.document["state"] in ("queued", "processing")]
            states = Counter(a.document["state"] for a in added if a.document)
            text = ", ".join(f"{states[s]} {s}" for s in ("queued", "processing", "ready", "failed") if states[s])
            if text:
                status.show(f"documents: {text}", now=not waiting)
            if not waiting:
                return
            time.sleep(_POLL_SECONDS)
            if len(waiting) <= 3:
                found = [api.get(f"{where}/{part(a.document['id'])}") for a in waiting if a.document]
            else:
                found = api.items(where)
            now = {document["id"]: document for document in found}
            for one in waiting:
                assert one.document is not None
                # Deleted by someone else meanwhile: there is nothing left to wait for.
                one.document = now.get(one.document["id"], {**one.document, "state": "deleted"})


def wait_for_job(api: Api, job: dict[str, Any], quiet: bool) -> dict[str, Any]:
    """Wait until an estimate or export is made; raises JobFailedError."""
    with Status(quiet) as status:
        while job["state"] in ("queued", "working"):
            status.show(f"{job['kind']}: {job['state']}")
            time.sleep(_POLL_SECONDS)
            job = api.get(f"/jobs/{job['id']}")
    if job["state"] == "failed":
        raise JobFailedError(f"the {job['kind']} failed: {job['error']}")
    return job


def wait_for_run(api: Api, run_id: int, quiet: bool) -> dict[str, Any]:
    """Show an index run until it ends; returns its last progress."""
    if not quiet and live():
        return _draw_run(api, run_id)
    last, step = float("-inf"), ""
    while True:
        progress: dict[str, Any] = api.get(f"/index-runs/{run_id}")
        run = progress["run"]
        ended = run["state"] != "running"
        if not quiet and (ended or run["step"] != step or time.monotonic() - last >= _LINE_SECONDS):
            output.note(run_line(progress))
            last, step = time.monotonic(), run["step"]
        if ended:
            return progress
        time.sleep(_POLL_SECONDS)


def run_line(progress: dict[str, Any]) -> str:
    """Return an index run's progress in one line."""
    run = progress["run"]
    current = next((s for s in progress["steps"] if s["step"] == run["step"]), None)
    total = sum(current[state] for state in ("pending", "leased", "done", "failed")) if current else 0
    items = f" {current['done']}/{total}" if current and total else ""
    failed = f", {current['failed']} failed" if current and current["failed"] else ""
    parts = [f"run {run['id']} {run['state']}: {run['step']}{items}{failed}", *_spent(progress)]
    return ", ".join(parts)


def failure(server: Mapping[str, Any]) -> str:
    """Return a failing model server's error and since when, in one line."""
    since = datetime.now(UTC) - datetime.fromisoformat(server["since"])
    return f"{server['error']} (since {output.duration(max(0.0, since.total_seconds()))})"


def _spent(progress: dict[str, Any]) -> list[str]:
    run = progress["run"]
    parts = [
        f"{progress['calls_in_flight']} calls in flight",
        f"{run['calls']} calls made, {run['calls_remembered']} remembered",
        f"{run['tokens_in']:,} tokens in, {run['tokens_out']:,} out",
    ]
    left = time_left(progress)
    parts += [left] if left else []
    parts += [failure(server) for server in progress["failing_model_servers"]]
    return parts if run["state"] == "running" else parts[1:3]


def time_left(progress: dict[str, Any]) -> str:
    """Return the time left in words; empty while it is unknown or hardly any."""
    seconds = progress["eta_seconds"]
    return "" if seconds is None or seconds < 1 else f"about {output.duration(seconds)} left"


def _draw_run(api: Api, run_id: int) -> dict[str, Any]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def drawn(progress: dict[str, Any]) -> Group:
        grid = Table.grid(padding=(0, 2))
        for step in progress["steps"]:
            total = sum(step[state] for state in ("pending", "leased", "done", "failed"))
            failed = Text(f"{step['failed']} failed", style="red") if step["failed"] else Text("")
            bar = ProgressBar(total=max(total, 1), completed=step["done"], width=30)
            grid.add_row(Text(step["step"]), bar, Text(f"{step['done']}/{total}", justify="right"), failed)
        run = progress["run"]
        head = Text(f"index run {run['id']}: {run['state']}, {run['step']}", style="bold")
        return Group(head, grid, Text(", ".join(_spent(progress)), style="dim"))

    progress: dict[str, Any] = api.get(f"/index-runs/{run_id}")
    with Live(drawn(progress), console=Console(stderr=True), refresh_per_second=8) as display:
        while progress["run"]["state"] == "running":
            time.sleep(_POLL_SECONDS)
            progress = api.get(f"/index-runs/{run_id}")
            display.update(drawn(progress))
    return progress
