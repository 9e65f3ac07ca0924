"""`fileintel graphrag`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from fileintel.cli import output
from fileintel.cli import query as asking
from fileintel.cli.collection import Name
from fileintel.errors import ConflictError, FileIntelError

app = typer.Typer(help="Build a collection's graph and look at it.")
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]
Level = Annotated[int | None, typer.Option(min=0, help="Only this level; 0 is the coarsest.")]


_VERSION_COLUMNS = (
    "version", "published", "finished_at", "method", "chat_model", "entities", "communities", "reports", "claims",
)  # fmt: skip


class Method(StrEnum):
    """GraphRAG's two ways to a graph."""

    STANDARD = "standard"
    FAST = "fast"


class RunFailedError(FileIntelError):
    """An index run did not complete."""

    title = "index run"


@app.command()
def index(
    collection: Name,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for its end, and show how it goes.")] = False,
    method: Annotated[
        Method | None,
        typer.Option(help="fast: noun phrases, where standard has the LLM read. At first standard, then as before."),
    ] = None,
    claims: Annotated[
        bool | None,
        typer.Option("--claims/--no-claims", help="Extract claims as well; At first without, then as before."),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Build the collection's graph; what was asked of the LLM before is not asked again."""
    from fileintel.cli import progress
    from fileintel.cli.client import connect, part

    where = f"/collections/{part(collection)}"
    wanted = {"method": method and method.value, "claims": claims}
    with connect() as api:
        run = api.post(f"{where}/index-runs", {name: value for name, value in wanted.items() if value is not None})
        if not wait:
            if as_json:
                output.print_json(run)
            else:
                output.line(f"index run {run['id']} is under way; see `fileintel graphrag status {collection}`")
            return
        try:
            ended = progress.wait_for_run(api, run["id"], quiet=as_json)
        except KeyboardInterrupt:
            output.note(f"the run goes on; see `fileintel graphrag status {collection}`, or `cancel`")
            raise
        graph = api.get(f"{where}/graph")
    run = ended["run"]
    if as_json:
        output.print_json({**ended, "graph": graph})
    elif run["state"] == "complete":
        lost = f"{ended['unreadable']} fragments of the model's answers" if ended["unreadable"] else None
        output.facts(_facts(run) | {"unreadable": lost} | graph["counts"])
    if run["state"] != "complete":
        raise RunFailedError(f"index run {run['id']} is {run['state']}{_reason(ended)}")


def _reason(progress: dict[str, Any]) -> str:
    if progress["run"]["error"]:
        return f": {progress['run']['error']}"
    if progress["failures"]:
        first = progress["failures"][0]
        return f": {first['step']}: {first['error']}"
    return ""


def _facts(run: dict[str, Any]) -> dict[str, object]:
    took = None
    if run["finished_at"]:
        spent = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["created_at"])
        took = output.duration(spent.total_seconds())
    return {
        "index run": f"{run['id']} {run['state']}",
        "took": took,
        "method": run["method"] + (" with claims" if run["claims"] else ""),
        "chat model": run["chat_model"],
        "embedding model": run["embedding_model"],
        "calls": f"{run['calls']} made, {run['calls_remembered']} remembered",
        "tokens": f"{run['tokens_in']:,} in, {run['tokens_out']:,} out",
    }


@app.command()
def status(collection: Name, as_json: output.Json = False) -> None:
    """Show the collection's newest index run and the graph questions are answered from."""
    from fileintel.cli.client import connect, part
    from fileintel.cli.progress import failure, time_left

    where = f"/collections/{part(collection)}"
    with connect() as api:
        runs = api.items(f"{where}/index-runs", most=1)
        progress = api.get(f"/index-runs/{runs[0]['id']}") if runs else None
        graph = api.get(f"{where}/graph")
    if as_json:
        output.print_json({"progress": progress, "graph": graph})
        return
    if progress is None:
        output.line(f"never indexed: `fileintel graphrag index {collection}` builds the graph")
        return
    published = graph["version"]
    lost = progress["unreadable"]
    output.facts(
        _facts(progress["run"])
        | {
            "unreadable": f"{lost} fragments of the model's answers" if lost else None,
            "why": _reason(progress).removeprefix(": ") or None,
            "published": "none yet" if published is None else f"version {published}",
        }
        | graph["counts"]
    )
    if progress["steps"]:
        output.line()
        columns = ("step", "done", "leased", "pending", "failed")
        output.table(columns, [[step[column] for column in columns] for step in progress["steps"]])
    if progress["failures"]:
        output.line()
        output.table(
            ("step", "attempts", "error"), [[f["step"], f["attempts"], f["error"]] for f in progress["failures"][:5]]
        )
    if progress["run"]["state"] == "running":
        output.line()
        left = time_left(progress)
        output.line(f"{progress['calls_in_flight']} calls in flight" + (f", {left}" if left else ""))
        for server in progress["failing_model_servers"]:
            output.line(failure(server))


@app.command()
def entities(
    collection: Name,
    search: Annotated[str | None, typer.Option(help="Only those whose title holds this.")] = None,
    limit: Limit = 50,
    as_json: output.Json = False,
) -> None:
    """List the graph's entities."""
    columns = ("title", "type", "degree", "frequency", "description")
    _list(collection, "entities", columns, limit, as_json, search=search)


@app.command()
def relationships(collection: Name, limit: Limit = 50, as_json: output.Json = False) -> None:
    """List the graph's relationships."""
    _list(collection, "relationships", ("source", "target", "weight", "description"), limit, as_json)


@app.command()
def communities(collection: Name, level: Level = None, limit: Limit = 50, as_json: output.Json = False) -> None:
    """List the graph's communities."""
    columns = ("number", "level", "parent", "size", "title")
    _list(collection, "communities", columns, limit, as_json, level=level)


@app.command()
def reports(
    collection: Name,
    level: Level = None,
    limit: Limit = 50,
    full: Annotated[bool, typer.Option("--full", help="Print the reports whole.")] = False,
    as_json: output.Json = False,
) -> None:
    """List the graph's community reports."""
    if not full or as_json:
        columns = ("community", "level", "rank", "title", "summary")
        _list(collection, "reports", columns, limit, as_json, level=level)
        return
    for report in _found(collection, "reports", limit, level=level):
        output.line(f"== community {report['community']}, level {report['level']}, rank {report['rank']:g}")
        output.block(report["full_content"])
        output.line()


@app.command()
def claims(
    collection: Name,
    search: Annotated[str | None, typer.Option(help="Only those whose subject or object holds this.")] = None,
    limit: Limit = 50,
    as_json: output.Json = False,
) -> None:
    """List what the documents claim that somebody did, and where; `index --claims` extracts it."""
    found = _found(collection, "claims", limit, search=search)
    if as_json:
        output.print_json(found)
        return
    columns = ("subject", "object", "type", "status", "description")
    rows = [[*(_value(one["claim"], column) for column in columns), one["document_name"], one["page"]] for one in found]
    output.table((*columns, "document", "page"), rows)


def _found(collection: str, noun: str, limit: int, **parameters: Any) -> list[dict[str, Any]]:
    from fileintel.cli.client import connect, part

    with connect() as api:
        return api.items(f"/collections/{part(collection)}/{noun}", most=limit, **parameters)


def _list(collection: str, noun: str, columns: tuple[str, ...], limit: int, as_json: bool, **parameters: Any) -> None:
    found = _found(collection, noun, limit, **parameters)
    if as_json:
        output.print_json(found)
        return
    output.table(columns, [[_value(item, column) for column in columns] for item in found])


def _value(item: dict[str, Any], column: str) -> object:
    if column == "size":
        return len(item["entity_ids"])
    value = item[column]
    if isinstance(value, float):
        return f"{value:g}"
    return output.shorten(value, 100) if isinstance(value, str) else value


@app.command()
def query(
    collection: Name,
    question: asking.Question,
    mode: asking.ModeOption = asking.Mode.GRAPH,
    community_level: asking.CommunityLevel = None,
    response_type: asking.ResponseType = None,
    dynamic: asking.Dynamic = False,
    wait: asking.Wait = 600,
    as_json: output.Json = False,
) -> None:
    """Ask the collection's graph a question, as `fileintel query` does."""
    asking.query(collection, question, mode, community_level, response_type, dynamic, wait, as_json)


@app.command()
def cancel(collection: Name, as_json: output.Json = False) -> None:
    """Stop the collection's index run; what it learned stays remembered."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        runs = api.items(f"/collections/{part(collection)}/index-runs", most=1)
        if not runs or runs[0]["state"] != "running":
            raise ConflictError(f"no index run of {collection!r} is under way")
        run = api.post(f"/index-runs/{runs[0]['id']}/cancel")
    if as_json:
        output.print_json(run)
    else:
        output.line(f"index run {run['id']} is {run['state']}")


@app.command()
def retry(collection: Name, as_json: output.Json = False) -> None:
    """Try the failed items of the collection's last index run again."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        runs = api.items(f"/collections/{part(collection)}/index-runs", most=1)
        if not runs:
            raise ConflictError(f"{collection!r} has no index run: build it with `fileintel graphrag index`")
        run = api.post(f"/index-runs/{runs[0]['id']}/retry")
    if as_json:
        output.print_json(run)
    else:
        output.line(f"index run {run['id']} goes on; see `fileintel graphrag status {collection}`")


@app.command()
def versions(collection: Name, as_json: output.Json = False) -> None:
    """List the index versions questions can be answered from."""
    _list(collection, "versions", _VERSION_COLUMNS, 100, as_json)


@app.command()
def rollback(
    collection: Name,
    version: Annotated[int, typer.Argument(min=1, help="One of `fileintel graphrag versions`.")],
    as_json: output.Json = False,
) -> None:
    """Answer questions from an earlier index version, or from a later one again."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.post(f"/collections/{part(collection)}/versions/{version}/publish")
    if as_json:
        output.print_json(found["items"])
    else:
        output.line(f"questions to {collection} are answered from index version {version}")
