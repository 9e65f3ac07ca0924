"""`fileintel config`: what is set, whether it can work, and what would suit a machine."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from typing import Annotated

import typer

from fileintel import settings as declared
from fileintel.errors import ConfigurationError
from fileintel.settings import GROUPS, Bytes

app = typer.Typer(name="config", help="Show, check and export the configuration.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Format(StrEnum):
    """How `config export` writes."""

    ENV = "env"
    JSON = "json"


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Print every setting in effect, where it comes from, secrets masked."""
    from fileintel.configuration.effective import effective

    rows = effective(declared.load(), *declared.layers())
    if as_json:
        entries = {
            row.variable: {"value": row.shown, "source": row.source, "group": row.group, "secret": row.secret}
            for row in rows
        }
        typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    width = max(len(row.variable) for row in rows)
    for group, title in GROUPS.items():
        typer.echo(typer.style(f"# {title}", bold=True))
        for row in rows:
            if row.group == group:
                source = "" if row.source == "default" else f"  ({row.source})"
                typer.echo(f"{row.variable:<{width}} = {row.shown}{source}")
        typer.echo()


@app.command()
def check(
    as_json: JsonOption = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the broker for its eviction policy.")] = False,
) -> None:
    """Say in one line each what cannot work (exit code 2) or may hurt (a warning, exit code 0)."""
    from fileintel.configuration.checks import Problem
    from fileintel.configuration.checks import check as find

    try:
        problems = find(declared.load(), os.environ, ask_broker=not offline)
    except ConfigurationError as error:
        problems = [Problem("error", str(error))]
    failed = any(problem.severity == "error" for problem in problems)
    if as_json:
        lines = [{"severity": problem.severity, "text": problem.text} for problem in problems]
        typer.echo(json.dumps({"ok": not failed, "problems": lines}, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            typer.echo(f"{problem.severity}: {problem.text}", err=True)
        if not failed:
            typer.echo("The configuration can work.")
    raise typer.Exit(2 if failed else 0)


@app.command()
def export(
    form: Annotated[Format, typer.Option("--format", help="env: NAME=VALUE lines; json: one object.")] = Format.ENV,
    secrets: Annotated[bool, typer.Option("--secrets", help="Include keys and passwords in plain text.")] = False,
) -> None:
    """Print the settings in effect as another machine would be given them; secrets only when asked for."""
    from fileintel.configuration.effective import effective

    rows = effective(declared.load(), *declared.layers())
    hidden = {row.variable for row in rows if row.secret and row.value and not secrets}
    if form is Format.JSON:
        values = {row.variable: row.value for row in rows if row.variable not in hidden}
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    for row in rows:
        left_out = row.variable in hidden
        typer.echo(f"# {row.variable} is secret: --secrets prints it" if left_out else f"{row.variable}={row.value}")


@app.command()
def sizing(
    memory: Annotated[str, typer.Option("--memory", help="Memory of the host, such as 64G.")],
    as_json: JsonOption = False,
) -> None:
    """Work out values for a host that runs everything but the LLM server."""
    from fileintel.configuration import sizing as sizes

    try:
        total = Bytes(memory)
    except ValueError:
        raise ConfigurationError(f"--memory: expected a size such as 64G, not {memory!r}") from None
    if total.bytes < sizes.SMALLEST_HOST:
        raise ConfigurationError(f"--memory: FileIntel needs a host of at least 6G, not {memory}")
    values = sizes.values_for(total.bytes)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    typer.echo(f"# For a host with {total}; the LLM server's own memory comes on top.")
    for variable, value in values.items():
        typer.echo(f"{variable}={value}")
