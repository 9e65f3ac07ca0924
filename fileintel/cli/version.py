"""`fileintel version`."""

from __future__ import annotations

import platform

import typer

from fileintel import __version__
from fileintel.cli import output

app = typer.Typer()


@app.command()
def version(as_json: output.Json = False) -> None:
    """Print the version."""
    if as_json:
        output.print_json({"version": __version__, "python": platform.python_version()})
    else:
        output.line(f"fileintel {__version__}")
