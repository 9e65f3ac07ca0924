from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from fileintel.cli.migrate import app
from fileintel.store import keys, migrations


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The keys that are made, in a database that begins without."""
    found: list[tuple[str, list[str]]] = []

    def create(name: str, scopes: list[str]) -> tuple[Any, str]:
        found.append((name, scopes))
        return None, "fi_secret"

    monkeypatch.setattr(migrations, "migrate", lambda **_: "0001")
    monkeypatch.setattr(keys, "create", create)
    monkeypatch.setattr(keys, "list_all", lambda: list(found))
    return found


def test_the_first_key_is_made_once(made: list[tuple[str, list[str]]]):
    first = CliRunner().invoke(app, ["--first-key"])
    assert first.stdout == "the database is at 0001\nfi_secret\n" and "not shown again" in first.stderr
    second = CliRunner().invoke(app, ["--first-key"])
    assert second.stdout == "the database is at 0001\n" and "there are API keys already" in second.stderr
    assert made == [("made by fileintel migrate", ["admin"])]


def test_no_key_is_made_unasked(made: list[tuple[str, list[str]]]):
    assert json.loads(CliRunner().invoke(app, ["--json"]).stdout) == {"revision": "0001"}
    assert made == []
    assert json.loads(CliRunner().invoke(app, ["--json", "--first-key"]).stdout)["secret"] == "fi_secret"
