"""The command line: every command but those that start processes is a client of the API."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from fileintel.errors import FileIntelError

PROGRAM = "fileintel"

# Name, module, one line of help. The modules are imported when they are called for, so that `--help` and completion
# stay quick; what is listed here is what `--help` shows.
_COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("up", "up", "Run everything on this machine, until Ctrl-C."),
    ("demo", "demo", "Show what FileIntel does, on a small collection of its own."),
    ("collection", "collection", "Make, list, show and delete collections."),
    ("document", "document", "Add, list, show and delete documents."),
    ("graphrag", "graphrag", "Build a collection's graph and look at it."),
    ("query", "query", "Ask a collection a question."),
    ("tasks", "tasks", "List the work in progress."),
    ("key", "key", "Make, list and revoke API keys."),
    ("health", "health", "Say whether FileIntel can work."),
    ("config", "config", "Show, check and export the configuration."),
    ("api", "api", "Run the API."),
    ("worker", "worker", "Run one of the two Celery workers."),
    ("model-server", "model_server", "Run the embedded model server."),
    ("migrate", "migrate", "Bring the database to the newest schema."),
    ("version", "version", "Print the version."),
)

# Typer raises its own copy of click's errors and exports only this one: the base of them all is two steps up.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_CommandError: type[Exception] = _UsageError.__bases__[0]


class _Commands(TyperGroup):
    """The commands by name: a line of help until one is called, then the command itself."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name, module, _ in _COMMANDS if _exists(module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for name, module, line in _COMMANDS:
            if name == cmd_name and _exists(module):
                shown = typer.Typer(add_completion=False)
                shown.command(name, help=line)(lambda: None)
                return get_command(shown)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None or name is None:  # completion of a word that is no command yet
            return name, listed, rest
        return name, _loaded(name), rest


def _exists(module: str) -> bool:
    return importlib.util.find_spec(f"{__name__}.{module}") is not None


def _loaded(name: str) -> Any:
    module = import_module(f"{__name__}.{next(module for listed, module, _ in _COMMANDS if listed == name)}")
    command = get_command(module.app)
    command.name = name
    # Each of them is made as a program of its own; here they are parts of one.
    command.params = [p for p in command.params if p.name not in ("install_completion", "show_completion")]
    for part in (command, *getattr(command, "commands", {}).values()):
        part.rich_markup_mode = None
    return command


app = typer.Typer(
    name=PROGRAM,
    cls=_Commands,
    help="Documents in, a knowledge graph built from them, questions answered with citations that can be checked.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 it worked, 1 it failed, 2 bad input or usage."""
    as_json = "--json" in arguments
    try:
        code = get_command(app).main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except FileIntelError as error:
        from fileintel.cli import output

        output.complain(error, as_json)
        return error.exit_code
    except typer.Abort:
        sys.stderr.write(f"{PROGRAM}: stopped\n")
        return 1
    except _CommandError as error:
        from fileintel.cli import output

        output.complain(output.Misuse(error), as_json)
        return 2
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line of this process."""
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
