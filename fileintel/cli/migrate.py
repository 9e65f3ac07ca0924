"""`fileintel migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from fileintel.cli import output

app = typer.Typer()


@app.command()
def migrate(
    first_key: Annotated[
        bool, typer.Option("--first-key", help="Then, if there is no API key yet, make an admin key and print it.")
    ] = False,
    change_dimensions: Annotated[
        bool,
        typer.Option(
            "--change-dimensions", help="Remove all vectors where FILEINTEL_EMBEDDING_DIMENSIONS is another length."
        ),
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Bring the database to the newest schema; safe to run twice and from two hosts."""
    from fileintel.store import keys, migrations

    revision = migrations.migrate(change_dimensions=change_dimensions)
    # Every other key is made with a key, over the API.
    secret = keys.create("made by fileintel migrate", ["admin"])[1] if first_key and not keys.list_all() else None
    if as_json:
        output.print_json({"revision": revision, **({"secret": secret} if first_key else {})})
        return
    output.line(f"the database is at {revision}")
    if secret:
        output.line(secret)
        output.note("the line above is an admin key's secret, and is not shown again")
    elif first_key:
        output.note("there are API keys already: none is made")
