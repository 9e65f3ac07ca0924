from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fileintel import cli, settings
from fileintel.cli import client, output
from fileintel.errors import FileIntelError

from .conftest import Answers, Outcome, page, problem

Run = Callable[..., Outcome]
COMMANDS = [name for name, _, _ in cli._COMMANDS]


def one_line(outcome: Outcome) -> str:
    assert outcome.err.startswith("fileintel: ") and outcome.err.count("\n") == 1, outcome.err
    return outcome.err


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from fileintel import cli; code = cli.run(['--help']); "
        "heavy = {'httpx', 'pydantic', 'fastapi', 'celery', 'sqlalchemy', 'graphrag', 'numpy', 'fileintel.settings'}; "
        "print(sorted(heavy & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    shown = run(name, "--help")
    assert shown.code == 0 and "Usage: fileintel " + name in shown.out
    assert "completion" not in shown.out


def test_no_command_shows_the_help(run: Run) -> None:
    assert "Commands:" in run().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["collection"],
        ["collection", "nonsense"],
        ["collection", "show"],
        ["query", "minutes"],
        ["query", "minutes", "?", "--mode", "deep"],
        ["query", "minutes", " "],
        ["query", "minutes", "?", "--community-level", "-1"],
        ["graphrag", "query", "minutes"],
        ["graphrag", "query", "minutes", "?", "--mode", "deep"],
        ["key", "create", "x", "--scope", "root"],
        ["graphrag", "entities", "minutes", "--limit", "0"],
        ["--nonsense"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(run: Run, answers: Answers, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2 and outcome.out == ""
    one_line(outcome)
    told = run(*arguments, "--json")
    assert told.code == 2 and told.out == "" and json.loads(told.err)["type"].startswith("urn:fileintel:")


@pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 2), (404, 2), (409, 2), (422, 2), (500, 1), (503, 1)])
def test_problems_of_the_api(run: Run, answers: Answers, status: int, code: int) -> None:
    answers.canned["GET /collections"] = problem(status, "this is why\x1b[31m")
    outcome = run("collection", "list")
    assert outcome.code == code and "this is why [31m" in one_line(outcome)
    told = run("collection", "list", "--json")
    assert told.code == code and told.out == "" and json.loads(told.err)["status"] == status


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectError("refused"), "fileintel up"),
        (httpx.ReadTimeout("slow"), "in time"),
        (httpx.RemoteProtocolError("cut"), "broke"),
    ],
)
def test_an_api_that_is_away(run: Run, answers: Answers, error: Exception, told: str) -> None:
    answers.canned["GET /collections"] = error
    outcome = run("collection", "list")
    assert outcome.code == 1 and told in one_line(outcome)


@pytest.mark.parametrize("status", [200, 404, 502])
def test_something_else_answers(run: Run, answers: Answers, status: int) -> None:
    answers.canned["GET /collections"] = httpx.Response(status, html="<h1>It works</h1>")
    outcome = run("collection", "list")
    assert outcome.code == 1 and "is no FileIntel" in one_line(outcome)


def test_nothing_listens(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FILEINTEL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("FILEINTEL_API_URL", "http://127.0.0.1:9")
    settings.load.cache_clear()
    outcome = run("health")
    assert outcome.code == 1 and "`fileintel up`" in one_line(outcome)
    settings.load.cache_clear()


def key_sent(monkeypatch: pytest.MonkeyPatch, state: Path, **environment: str) -> str | None:
    for name in ("FILEINTEL_API_URL", "FILEINTEL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FILEINTEL_STATE_DIR", str(state))
    settings.load.cache_clear()
    try:
        with client.connect() as api:
            return api._http.headers.get("Authorization")
    finally:
        settings.load.cache_clear()


def test_the_local_key_is_shown_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert key_sent(monkeypatch, tmp_path) is None
    (tmp_path / "admin.key").write_text("local\n")
    assert key_sent(monkeypatch, tmp_path) == "Bearer local"
    assert key_sent(monkeypatch, tmp_path, FILEINTEL_API_URL="http://[::1]:1") == "Bearer local"
    assert key_sent(monkeypatch, tmp_path, FILEINTEL_API_URL="https://files.example") is None
    (tmp_path / "run").mkdir()
    written = tmp_path / "run" / "environment"
    written.write_text("FILEINTEL_API_URL=http://10.0.0.5:1\nFILEINTEL_API_KEY=running\n")
    assert key_sent(monkeypatch, tmp_path) == "Bearer running"
    assert key_sent(monkeypatch, tmp_path, FILEINTEL_API_URL="https://files.example") is None
    own = {"FILEINTEL_API_URL": "https://files.example", "FILEINTEL_API_KEY": "mine"}
    assert key_sent(monkeypatch, tmp_path, **own) == "Bearer mine"


def test_an_address_that_is_none(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FILEINTEL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("FILEINTEL_API_URL", "files.example:8700")
    settings.load.cache_clear()
    assert run("collection", "list").code == 2
    settings.load.cache_clear()


def test_a_missing_key_says_how_to_give_one(run: Run, monkeypatch: pytest.MonkeyPatch, answers: Answers) -> None:
    answers.canned["GET /collections"] = problem(401, "this needs an API key")
    bare = client.Api("http://127.0.0.1:1", "", httpx.MockTransport(answers))
    monkeypatch.setattr(client, "connect", lambda: bare)
    assert "FILEINTEL_API_KEY" in one_line(run("collection", "list"))


def test_completion_reaches_into_commands() -> None:
    script = "from fileintel.cli import main; main()"
    environment = os.environ | {
        "_FILEINTEL_COMPLETE": "complete_bash",
        "COMP_WORDS": "fileintel graphrag ent",
        "COMP_CWORD": "2",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["entities"]


def test_pages_are_followed(run: Run, answers: Answers) -> None:
    def two(request: httpx.Request) -> httpx.Response:
        first = request.url.params["offset"] == "0"
        item: dict[str, Any] = {"id": "k", "name": "n", "scopes": ["read"], "collections": None}
        item |= {"created_at": "2026-03-02T09:30:00Z", "revoked_at": None}
        return httpx.Response(200, json=page(item, next_offset=1 if first else None))

    answers.canned["GET /keys"] = two
    assert len(run("key", "list", "--json").json) == 2
    assert run("key", "list").out.count("read") == 2


def test_plain_leaves_nothing_a_terminal_obeys() -> None:
    assert output.plain("a\x1b[2Jb\r\nc\x9bd") == "a [2Jb  c d"
    assert output.plain("a\nb\x07", lines=True) == "a\nb "


def test_amounts() -> None:
    assert [output.amount(size) for size in (0, 999, 1000, 209715200, 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "209.7 MB",
        "1000.0 TB",
    ]
    assert [output.duration(s) for s in (0.4, 59, 61, 3661)] == ["0 s", "59 s", "1 min 01 s", "1 h 01 min"]


def test_our_errors_have_their_exit_codes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> Any:
        raise FileIntelError("two\nlines")

    monkeypatch.setattr(client, "connect", failing)
    outcome = run("collection", "list")
    assert outcome.code == 1 and outcome.err == "fileintel: two lines\n"
