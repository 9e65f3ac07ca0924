"""docs/deployment.md and docs/tuning.md say what is so."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from fileintel import cli
from fileintel.configuration import sizing
from fileintel.settings import FIELD_OF, Settings

ROOT = Path(__file__).parents[2]
DOCS = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("deployment.md", "tuning.md")}
GB = 1024**3


def commands(text: str) -> set[str]:
    """Every `fileintel …` in a page, up to what a shell would end it with."""
    found = re.findall(r"(?:(?<=[`\s/(])|^)fileintel(?:-manage)? ([a-z][^`\n|>)#;]*)", text, re.MULTILINE)
    # `sudo -u fileintel pg_restore` runs as a user of that name.
    return {command.strip().removesuffix(".") for command in found if not command.startswith("pg_")}


def command_of(words: list[str]) -> Any:
    """The command that begins `words`, which are taken away; None if there is no such command."""
    modules = {name: module for name, module, _ in cli._COMMANDS}
    if words[0] not in modules:
        return None
    found: Any = typer.main.get_command(import_module(f"fileintel.cli.{modules[words.pop(0)]}").app)
    while hasattr(found, "commands"):
        if not words or words[0] not in found.commands:
            return None
        found = found.commands[words.pop(0)]
    return found


@pytest.mark.parametrize("page", DOCS)
def test_every_command_exists_with_its_options(page: str):
    seen = set()
    for line in commands(DOCS[page]):
        words = line.split()
        found = command_of(words)
        assert found is not None, f"{page}: no such command: fileintel {line}"
        options = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            assert not word.startswith("-") or word.partition("=")[0] in options, f"{page}: fileintel {line}: {word}"
        seen.add(found.name)
    assert page != "deployment.md" or {"migrate", "worker", "check", "sizing", "index", "query", "retry"} <= seen


def table(page: str, mark: str) -> list[list[str]]:
    rows = DOCS[page].split(f"<!-- {mark} -->\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows if "---" not in row]


def test_the_memory_budget_is_that_of_config_sizing():
    header, *rows = table("deployment.md", "sizing")
    for column, memory in enumerate(header[1:], 1):
        expected = sizing.values_for(int(memory.removesuffix("G")) * GB)
        assert {row[0]: row[column] for row in rows} == expected


def test_the_profiles_are_those_of_the_code():
    header, _, *rows = table("deployment.md", "profiles")
    defaults = Settings()
    for column, profile in enumerate(sizing.PROFILES, 1):
        assert header[column] == f"{profile.name} ({profile.memory} GB)"
        for row in rows:
            expected = profile.values.get(row[0], str(getattr(defaults, FIELD_OF[row[0]])))
            assert row[column] == expected, (profile.name, row[0])


@pytest.mark.parametrize("page", DOCS)
def test_settings_files_and_options_that_are_named_are_there(page: str):
    text = DOCS[page]
    for name in set(re.findall(r"\b(?:FILEINTEL|CELERY|GEVENT)_[A-Z_]*[A-Z]\b", text)):
        assert name in FIELD_OF, name
    for path in set(re.findall(r"\]\(([a-z][^)#:]*)\)", text)) | set(
        re.findall(r"`((?:nix|docs|fileintel)/[^` *]+)`", text)
    ):
        assert (ROOT / path).exists() or (ROOT / "docs" / path).exists(), path
    options = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\bservices\.fileintel\.([a-z]+(?:\.[a-zA-Z]+)*)", text)):
        assert f"`services.fileintel.{name}`" in options, name


def test_the_table_of_processes_has_the_limits_of_the_settings():
    settings = Settings()
    for process, limit, reserved in (
        ("fileintel worker main", settings.celery_worker_memory_limit, settings.celery_worker_memory_reservation),
        (
            "fileintel worker graphrag",
            settings.celery_graphrag_memory_limit,
            settings.celery_graphrag_memory_reservation,
        ),
    ):
        row = next(line for line in DOCS["deployment.md"].splitlines() if line.startswith(f"| `{process}`"))
        assert row.endswith(f"| {limit} | {reserved} |")
    row = next(line for line in DOCS["deployment.md"].splitlines() if line.startswith("| Postgres with pgvector"))
    assert f"| {settings.postgres_memory_limit} |" in row


def test_the_migration_it_shows_is_the_last():
    last = max(path.name[:4] for path in (ROOT / "fileintel" / "store" / "migrations" / "versions").glob("0*.py"))
    shown = re.findall(r"(?:the database is at|migrations +yes) +(\d{4})", DOCS["deployment.md"])
    assert len(shown) == 3 and set(shown) == {last}
