"""`fileintel collection`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fileintel.cli import output

app = typer.Typer(help="Make, list, show and delete collections.")
Name = Annotated[str, typer.Argument(metavar="COLLECTION", help="Its name or id.", show_default=False)]


def _show(collection: dict[str, Any], graph: dict[str, Any] | None = None) -> None:
    version = collection["published_version"]
    output.facts(
        {
            "name": collection["name"],
            "id": collection["id"],
            "description": collection["description"] or None,
            "created": output.moment(collection["created_at"]),
            "documents": collection["documents"],
            "graph": "none yet" if version is None else f"version {version}",
            **((graph or {}).get("counts") or {}),
        }
    )


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The new collection's name.", show_default=False)],
    description: Annotated[str, typer.Option(help="What it holds.")] = "",
    as_json: output.Json = False,
) -> None:
    """Make a collection."""
    from fileintel.cli.client import connect

    with connect() as api:
        made = api.post("/collections", {"name": name, "description": description})
    if as_json:
        output.print_json(made)
    else:
        output.line(f"made {made['name']} ({made['id']})")


@app.command("list")
def list_(as_json: output.Json = False) -> None:
    """List the collections."""
    from fileintel.cli.client import connect

    with connect() as api:
        found = api.items("/collections")
    if as_json:
        output.print_json(found)
        return
    output.table(
        ("name", "documents", "graph", "created", "id"),
        [(c["name"], c["documents"], c["published_version"], output.moment(c["created_at"]), c["id"]) for c in found],
    )


@app.command()
def show(collection: Name, as_json: output.Json = False) -> None:
    """Show a collection."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.get(f"/collections/{part(collection)}")
        graph = api.get(f"/collections/{part(collection)}/graph")
    if as_json:
        output.print_json({**found, "graph": graph})
    else:
        _show(found, graph)


@app.command()
def delete(
    collection: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: output.Json = False,
) -> None:
    """Delete a collection with its documents, its graph and the questions put to it."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.get(f"/collections/{part(collection)}")
        confirm(f"delete {found['name']} and its {output.counted(found['documents'], 'document')}?", yes or as_json)
        api.delete(f"/collections/{part(found['id'])}")
    if as_json:
        output.print_json({"deleted": found["id"]})
    else:
        output.line(f"deleted {found['name']}")


def confirm(question: str, yes: bool) -> None:
    """Ask a person at a terminal, raise Abort on no; a script that says nothing means it."""
    import sys

    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(output.plain(question), abort=True)
