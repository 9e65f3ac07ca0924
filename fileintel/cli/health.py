"""`fileintel health`."""

from __future__ import annotations

import typer

from fileintel.cli import output
from fileintel.errors import ServiceError

app = typer.Typer()


@app.command()
def health(as_json: output.Json = False) -> None:
    """Say whether FileIntel can work, part by part."""
    from fileintel.cli.client import connect

    with connect() as api:
        ready, parts = api.readiness()
    if as_json:
        output.print_json({"ready": ready, "url": api.url, "parts": parts})
    else:
        output.table(("part", "ok", "detail"), [(name, part["ok"], part["detail"]) for name, part in parts.items()])
    if not ready:
        failed = ", ".join(name for name, part in parts.items() if not part["ok"])
        raise ServiceError(f"the FileIntel at {api.url} cannot work: {failed}")
