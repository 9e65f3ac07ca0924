"""`fileintel key`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fileintel.cli import output

app = typer.Typer(help="Make, list and revoke API keys.")


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.", show_default=False)],
    scope: Annotated[Scope, typer.Option(help="What it may do; each scope includes those before it.")] = Scope.READ,
    collection: Annotated[
        list[str] | None, typer.Option(help="A collection it reaches (again for more).", show_default="all")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Make an API key; its secret is shown this once."""
    from fileintel.cli.client import connect

    wanted = {"name": name, "scopes": [scope.value], "collections": collection or None}
    with connect() as api:
        made = api.post("/keys", wanted)
    if as_json:
        output.print_json(made)
        return
    output.line(made["secret"])
    output.note(f"key {made['key']['id']} made; the line above is its secret, and is not shown again")


@app.command("list")
def list_(as_json: output.Json = False) -> None:
    """List the API keys, without their secrets."""
    from fileintel.cli.client import connect

    with connect() as api:
        found = api.items("/keys")
    if as_json:
        output.print_json(found)
        return
    output.table(
        ("name", "scopes", "collections", "created", "revoked", "id"),
        [
            (
                key["name"],
                key["scopes"],
                "all" if key["collections"] is None else key["collections"],
                output.moment(key["created_at"]),
                output.moment(key["revoked_at"]),
                key["id"],
            )
            for key in found
        ],
    )


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `key list` shows it.", show_default=False)],
    as_json: output.Json = False,
) -> None:
    """End a key for good."""
    from fileintel.cli.client import connect, part

    with connect() as api:
        api.delete(f"/keys/{part(key)}")
    if as_json:
        output.print_json({"revoked": key})
    else:
        output.line(f"revoked {key}")
