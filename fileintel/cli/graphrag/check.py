"""`fileintel graphrag check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fileintel.cli import output
from fileintel.cli.collection import Name
from fileintel.errors import FileIntelError

app = typer.Typer()


class IncompleteError(FileIntelError):
    """An index is not whole."""

    title = "incomplete index"


@app.command()
def check(
    collection: Name,
    full: Annotated[
        bool, typer.Option("--full", help="Name all that is missing, and print the model's unusable answers.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Say whether the published graph is whole; exit code 1 when anything is missing or has failed."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        found = api.get(f"/collections/{part(collection)}/check", full=full)
    if as_json:
        output.print_json(found)
    else:
        _show(found, full)
    if not found["complete"]:
        raise IncompleteError(_why(collection, found))


def _show(found: dict[str, Any], full: bool) -> None:
    if found["version"] is not None:
        output.line(f"version {found['version']}")
        output.table(
            ("what", "of", "missing", "such as"),
            [
                [c["name"], c["total"], c["missing"], output.shorten(", ".join(c["examples"]), 80)]
                for c in found["checks"]
            ],
        )
    for missing in (c for c in found["checks"] if full and c["missing"]):
        output.line()
        output.line(f"{missing['name']}: missing")
        for example in missing["examples"]:
            output.line(f"  {example}")
    if not found["failures"]:
        return
    output.line()
    output.line(f"failed in index run {found['run']}")
    rows = [[f["step"], output.shorten(f["key"], 16), f["attempts"], f["error"]] for f in found["failures"]]
    output.table(("step", "item", "attempts", "error"), rows)
    for failure in (f for f in found["failures"] if f["raw_answer"]):
        output.line()
        output.line(f"== what the model answered for {failure['step']} {failure['key']}")
        output.block(failure["raw_answer"])


def _why(collection: str, found: dict[str, Any]) -> str:
    if found["failures"]:
        failed = output.counted(len(found["failures"]), "item")
        return f"{failed} failed: `fileintel graphrag retry {collection}` tries again"
    cure = f"`fileintel graphrag index {collection}` builds it"
    if found["version"] is None:
        return f"{collection} has no published graph: {cure}"
    unread = next((c for c in found["checks"] if c["name"] == "documents read" and c["missing"]), None)
    lacking = [c for c in found["checks"] if c["missing"] and c is not unread]
    said = []
    if unread:
        said.append(
            f"{unread['missing']} of {unread['total']} documents are not read, such as {unread['examples'][0]}: "
            f"`fileintel document list {collection}` says why; send them anew or delete them"
        )
    if lacking:
        missing = ", ".join(f"{c['missing']} of {c['total']} {c['name']}" for c in lacking)
        said.append(f"not so: {missing}; {cure}")
    return "; ".join(said)
