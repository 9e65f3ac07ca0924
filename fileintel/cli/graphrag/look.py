"""`fileintel graphrag`: what the published graph holds, and which version that is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fileintel.cli import output
from fileintel.cli import query as asking
from fileintel.cli.collection import Name

app = typer.Typer()
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]
Level = Annotated[int | None, typer.Option(min=0, help="Only this level; 0 is the coarsest.")]

_VERSION_COLUMNS = (
    "version", "published", "finished_at", "method", "chat_model", "entities", "communities", "reports", "claims",
)  # fmt: skip


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
def community(
    collection: Name,
    number: Annotated[int, typer.Argument(min=0, help="One of `fileintel graphrag communities`.")],
    as_json: output.Json = False,
) -> None:
    """Show one community: its report, members, relationships, parent and children."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.get(f"/collections/{part(collection)}/communities/{number}")
    if as_json:
        output.print_json(found)
        return
    report, parent = found["report"], found["parent"]
    output.facts(
        {
            "community": number,
            "title": found["community"]["title"] if report is None else report["title"],
            "level": found["community"]["level"],
            "rank": None if report is None else f"{report['rank']:g}",
            "parent": None if parent is None else f"{parent['number']} {parent['title']}",
            "children": [f"{child['number']} {child['title']}" for child in found["children"]] or None,
            "text units": len(found["community"]["text_unit_ids"]),
        }
    )
    output.line()
    columns: tuple[str, ...] = ("title", "type", "degree", "description")
    output.table(columns, [[_value(entity, column) for column in columns] for entity in found["entities"]])
    output.line()
    columns = ("source", "target", "weight", "description")
    output.table(columns, [[_value(each, column) for column in columns] for each in found["relationships"]])
    output.line()
    output.block("(it has no report)" if report is None else report["full_content"])


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
        graph = api.get(f"/collections/{part(collection)}/graph")
    if as_json:
        output.print_json(found["items"])
    else:
        output.line(f"questions to {collection} are answered from index version {version}")
    if graph["changed_since"]:
        output.note(
            f"documents have changed since version {version}: what it knows of deleted ones is shown again, until "
            f"`fileintel graphrag index {collection}` builds anew"
        )


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
