"""`fileintel tasks`."""

from __future__ import annotations

import typer

from fileintel.cli import output

app = typer.Typer()


@app.command()
def tasks(as_json: output.Json = False) -> None:
    """List the work in progress: index runs, documents being read, questions being answered."""
    from fileintel.cli.client import connect

    with connect() as api:
        work = api.get("/tasks")
        names = {c["id"]: c["name"] for c in api.items("/collections")}
    if as_json:
        output.print_json(work)
        return
    rows = [
        ("index run", run["id"], run["collection_id"], run["step"], run["created_at"]) for run in work["index_runs"]
    ]
    rows += [("document", d["name"], d["collection_id"], d["state"], d["created_at"]) for d in work["documents"]]
    rows += [
        ("question", output.shorten(q["question"], 60), q["collection_id"], q["state"], q["created_at"])
        for q in work["queries"]
    ]
    output.table(
        ("work", "what", "collection", "state", "since"),
        [(kind, what, names.get(c, c), state, output.moment(at)) for kind, what, c, state, at in rows],
    )
