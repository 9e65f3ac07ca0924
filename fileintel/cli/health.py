"""`fileintel health`."""

from __future__ import annotations

import typer

from fileintel.cli import output
from fileintel.errors import NotAuthenticatedError, ServiceError

app = typer.Typer()


@app.command()
def health(as_json: output.Json = False) -> None:
    """Say whether FileIntel can work, part by part."""
    from fileintel.cli.client import ApiError, connect
    from fileintel.cli.progress import failure

    with connect() as api:
        ready, parts = api.readiness()
        try:
            failing = api.get("/status")["failing_model_servers"] if ready else []
        except (ApiError, NotAuthenticatedError) as error:
            # Whether it is ready is told to everybody, what its workers say only to those with a key.
            output.note(f"the model servers were not looked at: {error}")
            failing = []
    parts |= {
        f"model server {number}": {"ok": False, "detail": failure(server)} for number, server in enumerate(failing, 1)
    }
    ready = ready and not failing
    if as_json:
        output.print_json({"ready": ready, "url": api.url, "parts": parts})
    else:
        output.table(("part", "ok", "detail"), [(name, part["ok"], part["detail"]) for name, part in parts.items()])
    if not ready:
        failed = ", ".join(name for name, part in parts.items() if not part["ok"])
        raise ServiceError(f"the FileIntel at {api.url} cannot work: {failed}")
