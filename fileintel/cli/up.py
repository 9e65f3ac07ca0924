"""`fileintel up`: run everything on this machine, until Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

app = typer.Typer()

# In a process of its own, because the settings of this one are read and do not know the embedded database.
_CREATE_KEY = "from fileintel.store import keys; print(keys.create('made by fileintel up', ['admin'])[1])"


@app.command()
def up(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the API.", show_default="8700")] = None,
) -> None:
    """Run Postgres, the broker, the models, the API and both workers on this machine, until Ctrl-C.

    DATABASE_URL, REDIS_URL or OPENAI_BASE_URL, if set, stand in for the embedded part. Run again, it finds its data
    again.
    """
    from fileintel import settings
    from fileintel.embedded.up import run_up

    # Of the environment alone: a file that a killed `up` left names servers that are gone.
    environment, _ = settings.layers()
    code = run_up(settings.read(environment), port, create_key=create_key, say=_say)
    if code:
        raise typer.Exit(code)


def create_key(environment: Mapping[str, str]) -> str:
    """Make an admin key in the database that `environment` names and return its secret; raises ServiceError."""
    from fileintel.errors import ServiceError

    done = subprocess.run(
        [sys.executable, "-c", _CREATE_KEY],
        env=dict(environment),
        capture_output=True,
        text=True,
        errors="replace",
        # A Ctrl-C is the supervisor's to deal with.
        process_group=0,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ServiceError(f"the first admin key could not be made: {lines[-1]}")
    return done.stdout.strip()


def _say(line: str) -> None:
    # Flushed: whoever reads it through a pipe waits for it.
    print(line, flush=True)
