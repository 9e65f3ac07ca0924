"""`fileintel worker NAME`: become one of the Celery workers of workers.toml."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

app = typer.Typer()


def _names(incomplete: str) -> list[str]:
    from fileintel import topology

    return [name for name in topology.load().workers if name.startswith(incomplete)]


@app.command()
def worker(
    name: Annotated[
        str,
        typer.Argument(
            help="main or graphrag; with --ping also a Celery node: questions_gevent@%h", autocompletion=_names
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--print", help="Print the command line instead of running it.")] = False,
    ping: Annotated[
        bool, typer.Option("--ping", help="Ask the one that runs on this host whether it answers, and run none.")
    ] = False,
) -> None:
    """Run a Celery worker in this process, until it is told to stop."""
    import shlex

    from fileintel import settings, topology
    from fileintel.errors import ConfigurationError

    current = settings.load()
    layout = topology.load()
    argv = topology.ping_argv(name) if ping else topology.worker_argv(name, current)
    # Refuse here, before a message is taken: a task that computes would stop every greenlet of a gevent worker.
    problems = topology.problems(layout, current)
    if problems:
        raise ConfigurationError(problems[0])
    added = dict(layout.environment) if ping else topology.worker_environment(name, current)
    if dry_run:
        pairs = [f"{variable}={value}" for variable, value in added.items()]
        typer.echo(shlex.join(["env", *pairs, *argv]))
        return
    settings.require(current, *(["redis_url"] if ping else ["redis_url", "database_url"]))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, {**os.environ, **added})
