"""`fileintel graphrag`: its commands stand in the modules of this package, one app each."""

from __future__ import annotations

import typer

from fileintel.cli.graphrag import build, check, estimates, export, look

app = typer.Typer(help="Build a collection's graph and look at it.")
for _part in (estimates, build, check, look, export):
    app.registered_commands += _part.app.registered_commands
