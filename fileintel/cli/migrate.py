"""`fileintel migrate`."""

from __future__ import annotations

import typer

from fileintel.cli import output

app = typer.Typer()


@app.command()
def migrate(as_json: output.Json = False) -> None:
    """Bring the database to the newest schema; safe to run twice and from two hosts."""
    from fileintel.store import migrations

    revision = migrations.migrate()
    if as_json:
        output.print_json({"revision": revision})
    else:
        output.line(f"the database is at {revision}")
