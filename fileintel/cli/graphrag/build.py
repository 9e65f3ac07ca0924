"""`fileintel graphrag`: building a graph, and how the build goes."""

from __future__ import annotations

import sys
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileintel.cli import output
from fileintel.cli.collection import Name
from fileintel.errors import ConflictError, FileIntelError

if TYPE_CHECKING:
    from fileintel.cli.client import Api

app = typer.Typer()
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait for its end, and show how it goes.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, whatever the estimate says.")]
Budget = Annotated[int | None, typer.Option(min=0, help="Stop after so many LLM calls; 0: no such budget.")]
BudgetCost = Annotated[float | None, typer.Option(min=0, help="Stop at this cost; 0: no such budget.")]


class Method(StrEnum):
    """GraphRAG's two ways to a graph."""

    STANDARD = "standard"
    FAST = "fast"


MethodOption = Annotated[
    Method | None,
    typer.Option(help="fast: noun phrases, where standard has the LLM read. At first standard, then as before."),
]
Claims = Annotated[
    bool | None,
    typer.Option("--claims/--no-claims", help="Extract claims as well; at first without, then as before."),
]


class RunFailedError(FileIntelError):
    """An index run did not complete."""

    title = "index run"


@app.command()
def index(
    collection: Name,
    wait: Wait = False,
    method: MethodOption = None,
    claims: Claims = None,
    yes: Yes = False,
    budget: Budget = None,
    budget_cost: BudgetCost = None,
    as_json: output.Json = False,
) -> None:
    """Build the collection's graph; what was asked of the LLM before is not asked again."""
    wanted = {"method": method and method.value, "claims": claims, "budget_calls": budget, "budget_cost": budget_cost}
    _build(collection, wanted, wait=wait, yes=yes, as_json=as_json)


@app.command()
def rebuild(
    collection: Name,
    fresh: Annotated[bool, typer.Option("--fresh", help="Cluster from scratch: no community is kept.")] = False,
    wait: Wait = False,
    yes: Yes = False,
    budget: Budget = None,
    budget_cost: BudgetCost = None,
    as_json: output.Json = False,
) -> None:
    """Build the graph anew; questions are answered from the old one until the new one is whole."""
    wanted = {"budget_calls": budget, "budget_cost": budget_cost, "recluster": fresh or None}
    _build(collection, wanted, wait=wait, yes=yes, as_json=as_json)


def _build(collection: str, wanted: dict[str, Any], *, wait: bool, yes: bool, as_json: bool) -> None:
    from fileintel.cli import progress
    from fileintel.cli.client import connect, part

    where = f"/collections/{part(collection)}"
    with connect() as api:
        run = _start(api, f"{where}/index-runs", {k: v for k, v in wanted.items() if v is not None}, yes, as_json)
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
        lost = _lost(ended["unreadable"])
        output.facts(_facts(run) | {"unreadable": lost} | graph["counts"])
    if run["state"] != "complete":
        raise RunFailedError(f"index run {run['id']} is {run['state']}{_reason(ended)}")


def _start(api: Api, where: str, wanted: dict[str, Any], yes: bool, as_json: bool) -> Any:
    """Begin a build; above the thresholds a person at a terminal is asked, everybody else is told of --yes."""
    from fileintel.cli.client import ApiError
    from fileintel.cli.graphrag import estimates

    try:
        return api.post(where, wanted | {"confirmed": True} if yes else wanted)
    except ApiError as error:
        if error.problem.get("type") != "urn:fileintel:confirmation-needed" or as_json or not output.at_terminal():
            raise
        estimates.show(error.problem["estimate"], sys.stderr)
        output.note(str(error.problem["detail"]).rpartition("): ")[2])
    typer.confirm("build all the same?", abort=True, err=True)
    return api.post(where, wanted | {"confirmed": True})


def _reason(progress: dict[str, Any]) -> str:
    if progress["run"]["error"]:
        return f": {progress['run']['error']}"
    if progress["failures"]:
        first = progress["failures"][0]
        return f": {first['step']}: {first['error']}"
    return ""


def _lost(fragments: int) -> str | None:
    return f"{output.counted(fragments, 'fragment')} of the model's answers" if fragments else None


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
    changed = "; documents have changed since" if graph.get("changed_since") else ""
    unread = graph.get("documents_failed")
    output.facts(
        _facts(progress["run"])
        | {
            "unreadable": _lost(progress["unreadable"]),
            "why": _reason(progress).removeprefix(": ") or None,
            "published": "none yet" if published is None else f"version {published}{changed}",
            "not read": (
                f"{output.counted(unread, 'document')}: `fileintel document list {collection}` says why"
                if unread
                else None
            ),
        }
        | graph["counts"]
    )
    if progress["steps"]:
        output.line()
        columns = ("step", "done", "leased", "pending", "failed")
        output.table(columns, [[step[column] for column in columns] for step in progress["steps"]])
    if progress["retrying"]:
        output.line()
        output.line("tried again, after")
        output.table(
            ("step", "attempts", "error"), [[f["step"], f["attempts"], f["error"]] for f in progress["retrying"][:5]]
        )
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
def retry(
    collection: Name, budget: Budget = None, budget_cost: BudgetCost = None, as_json: output.Json = False
) -> None:
    """Try the failed items of the last index run again, or go on with one that its budget stopped."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        runs = api.items(f"/collections/{part(collection)}/index-runs", most=1)
        if not runs:
            raise ConflictError(f"{collection!r} has no index run: build it with `fileintel graphrag index`")
        given = {"budget_calls": budget, "budget_cost": budget_cost}
        wanted = {name: value for name, value in given.items() if value is not None}
        run = api.post(f"/index-runs/{runs[0]['id']}/retry", wanted or None)
    if as_json:
        output.print_json(run)
    else:
        output.line(f"index run {run['id']} goes on; see `fileintel graphrag status {collection}`")
