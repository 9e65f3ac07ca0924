from __future__ import annotations

import json
import os
import socketserver
import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fileintel.cli import api, config
from fileintel.cli import worker as worker_command
from fileintel.configuration import sizing
from fileintel.configuration.checks import broker_policy, check
from fileintel.configuration.effective import MASK, effective, without_password
from fileintel.errors import ConfigurationError, ServiceError
from fileintel.settings import FIELD_OF, Bytes, Settings, load, read

APP = typer.Typer()
APP.add_typer(config.app)
APP.add_typer(worker_command.app)
APP.add_typer(api.app)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for variable in list(os.environ):
        if variable in FIELD_OF or variable.startswith("FILEINTEL_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("FILEINTEL_STATE_DIR", str(tmp_path))
    load.cache_clear()
    yield
    load.cache_clear()


def problems(**environment: str) -> list[tuple[str, str]]:
    return [(found.severity, found.text) for found in check(read(environment), environment)]


class Broker(socketserver.ThreadingTCPServer):
    """Speaks just enough of Redis's protocol to answer CONFIG GET maxmemory-policy; `policy` None refuses it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, policy: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.policy = policy
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}/0"


class Connection(socketserver.StreamRequestHandler):
    server: Broker

    def handle(self) -> None:
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2].decode().upper())
            if words[:2] != ["CONFIG", "GET"]:
                self.wfile.write(b"+OK\r\n")
            elif self.server.policy is None:
                self.wfile.write(b"-NOPERM this user has no permissions\r\n")
            else:
                policy = self.server.policy.encode()
                self.wfile.write(b"*2\r\n$16\r\nmaxmemory-policy\r\n$%d\r\n%s\r\n" % (len(policy), policy))


@pytest.fixture
def broker():
    running = []

    def start(policy: str | None) -> Broker:
        running.append(Broker(policy))
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_the_defaults_work_and_warn_of_work_mem_alone():
    [(severity, text)] = problems()
    assert severity == "warning" and text.startswith("POSTGRES_WORK_MEM=32MB × 500 connections is 15.6 GB")


def test_the_connection_formula():
    assert sizing.connections_needed(Settings()) == 200 + 4 * 25 + 50 + 50


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"POSTGRES_MAX_CONNECTIONS": "399"}, "below the 400 connections needed (gevent 200 + prefork 4 × 25 + API 50"),
        ({"CELERY_GRAPHRAG_CONCURRENCY": "301"}, "POSTGRES_MAX_CONNECTIONS=500 is below the 501 connections needed"),
        ({"FILEINTEL_DATABASE_POOL_SIZE": "100"}, "full pools of all processes hold 700 connections"),
        ({"CELERY_WORKER_POOL": "gevent"}, "the gevent worker main may not serve default"),
        (
            {"FILEINTEL_BROKER_MAXMEMORY_POLICY": "allkeys-lru"},
            "FILEINTEL_BROKER_MAXMEMORY_POLICY=allkeys-lru: it drops",
        ),
        ({"POSTGRES_SHARED_BUFFERS": "8GB"}, "POSTGRES_SHARED_BUFFERS=8GB does not fit into POSTGRES_MEMORY_LIMIT=8G"),
        ({"FILEINTEL_BUDGET_COST": "5"}, "FILEINTEL_BUDGET_COST is set without prices"),
        ({"FILEINTEL_CONFIRM_ABOVE_COST": "5"}, "FILEINTEL_CONFIRM_ABOVE_COST is set without prices"),
        ({"REDIS_MAXMEMORY": "3gb"}, "REDIS_MAXMEMORY=3gb does not fit into REDIS_MEMORY_LIMIT=3G"),
        ({"CELERY_WORKER_MEMORY_RESERVATION": "17G"}, "CELERY_WORKER_MEMORY_RESERVATION=17G is more than"),
        ({"CELERY_GRAPHRAG_MEMORY_RESERVATION": "21G"}, "CELERY_GRAPHRAG_MEMORY_RESERVATION=21G is more than"),
        ({"FILEINTEL_PARSER_MEMORY": "17G"}, "FILEINTEL_PARSER_MEMORY=17G is more than the worker's whole"),
        ({"FILEINTEL_TEXT_UNIT_OVERLAP": "300"}, "FILEINTEL_TEXT_UNIT_OVERLAP=300 must be below"),
        ({"FILEINTEL_ENTITY_TYPES": " , "}, "FILEINTEL_ENTITY_TYPES names no entity type"),
        ({"DATABASE_URL": "mysql://u:hunter2@h/x"}, "DATABASE_URL is no URL that starts with postgresql://"),
        ({"OPENAI_BASE_URL": "vllm:8000/v1"}, "OPENAI_BASE_URL is no URL that starts with http://"),
    ],
)
def test_what_cannot_work_is_an_error_of_one_line(environment: dict[str, str], says: str):
    found = [text for severity, text in problems(**environment) if severity == "error"]
    assert len(found) == 1, found
    assert says in found[0] and "\n" not in found[0] and "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"CELERY_GRAPHRAG_MEMORY_LIMIT": "4G"}, "below the 15.4 GB that 200 active requests may take"),
        ({"CELERY_WORKER_MEMORY_LIMIT": "4G"}, "FILEINTEL_PARSER_MEMORY=2G × 4 processes is 8.0 GB"),
        ({"OPENAI_BASE_URL": "http://vllm:8000/v1"}, "still names the embedded model"),
        ({"CELERY_GRAPHRAG_CONCURENCY": "50"}, "did you mean CELERY_GRAPHRAG_CONCURRENCY?"),
    ],
)
def test_what_may_hurt_is_a_warning(environment: dict[str, str], says: str):
    assert any(severity == "warning" and says in text for severity, text in problems(**environment))
    assert not [text for severity, text in problems(**environment) if severity == "error"]


def test_a_running_broker_that_evicts_is_refused(broker):
    found = problems(REDIS_URL=broker("allkeys-lru").url)
    assert found[0] == (
        "error",
        "the broker at REDIS_URL has maxmemory-policy allkeys-lru: it drops queued tasks when memory runs short; "
        "only noeviction keeps them",
    )


def test_a_running_broker_that_keeps_everything_is_fine(broker):
    assert broker_policy(broker("noeviction").url) == "noeviction"


def test_a_broker_that_does_not_answer_is_a_warning_without_its_password(broker):
    for url in ("redis://:hunter2@127.0.0.1:1/0", broker(None).url):
        with pytest.raises(ServiceError):
            broker_policy(url)
        texts = problems(REDIS_URL=url)
        assert any("could not be asked for its maxmemory-policy" in text for _, text in texts)
        assert "hunter2" not in str(texts)


@pytest.mark.parametrize("profile", sizing.PROFILES, ids=lambda profile: profile.name)
def test_the_example_profiles_have_no_problem(profile: sizing.Profile):
    assert check(profile.settings) == []


@pytest.mark.parametrize("memory", [6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512])
def test_sizing_gives_values_without_a_problem_that_fit_the_host(memory: int):
    settings = read(sizing.values_for(memory * sizing.GB))
    assert check(settings) == []
    limits = (
        settings.celery_graphrag_memory_limit.bytes
        + settings.celery_worker_memory_limit.bytes
        + settings.postgres_memory_limit.bytes
        + 2 * settings.redis_memory_limit.bytes
    )
    assert limits <= memory * sizing.GB * (1 if memory < 8 else 0.9)


def test_check_exits_with_two_and_one_line_each(monkeypatch):
    monkeypatch.setenv("POSTGRES_MAX_CONNECTIONS", "100")
    result = CliRunner().invoke(APP, ["config", "check", "--offline"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: POSTGRES_MAX_CONNECTIONS=100 is below the 400 connections needed")


def test_check_reports_an_unknown_name_as_a_problem(monkeypatch):
    monkeypatch.setenv("FILEINTEL_CHAT_MODLE", "x")
    result = CliRunner().invoke(APP, ["config", "check", "--json"])
    assert result.exit_code == 2
    assert "did you mean FILEINTEL_CHAT_MODEL?" in json.loads(result.stdout)["problems"][0]["text"]


def test_check_of_the_defaults_succeeds():
    result = CliRunner().invoke(APP, ["config", "check", "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["ok"] is True


def test_show_says_where_each_value_comes_from_and_masks_secrets(monkeypatch, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment").write_text(
        "DATABASE_URL=postgresql://u:hunter2@h:5/x\nFILEINTEL_API_KEY=hunter2\n"
    )
    monkeypatch.setenv("CELERY_GRAPHRAG_CONCURRENCY", "50")
    shown = json.loads(CliRunner().invoke(APP, ["config", "show", "--json"]).stdout)
    assert shown["DATABASE_URL"]["value"] == f"postgresql://u:{MASK}@h:5/x"
    assert shown["DATABASE_URL"]["source"] == shown["FILEINTEL_API_KEY"]["source"] == "fileintel up"
    assert shown["CELERY_GRAPHRAG_CONCURRENCY"] == {
        "value": "50",
        "source": "environment",
        "group": "graphrag-worker",
        "secret": False,
    }
    assert shown["FILEINTEL_CHAT_TIMEOUT_SECONDS"]["value"] == "600"
    text = CliRunner().invoke(APP, ["config", "show"]).stdout
    assert "hunter2" not in text and "(environment)" in text and all(variable in text for variable in FIELD_OF)


def test_an_export_holds_secrets_only_when_asked_and_reads_back(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    monkeypatch.setenv("CELERY_WORKER_CONCURRENCY", "8")
    assert "hunter2" not in CliRunner().invoke(APP, ["config", "export"]).stdout
    assert "OPENAI_API_KEY" not in json.loads(CliRunner().invoke(APP, ["config", "export", "--format", "json"]).stdout)
    text = CliRunner().invoke(APP, ["config", "export", "--secrets"]).stdout
    assert read(dict(line.split("=", 1) for line in text.splitlines())) == load()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/x", f"postgresql://u:{MASK}@h/x"),
        ("redis://:p@h:1/0", f"redis://:{MASK}@h:1/0"),
        ("redis://:p@ss@h:1/0", f"redis://:{MASK}@h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("postgresql://h/x?password=p", MASK),
        ("", ""),
    ],
)
def test_passwords_in_urls_are_masked(url: str, shown: str):
    assert without_password(url) == shown


def test_effective_lists_every_setting_once():
    assert [row.variable for row in effective(Settings(), {}, {})] == list(FIELD_OF)


def test_sizing_prints_values_that_read_back():
    result = CliRunner().invoke(APP, ["config", "sizing", "--memory", "64G", "--json"])
    values = json.loads(result.stdout)
    assert read(values).celery_worker_concurrency == 8 and Bytes(values["POSTGRES_MEMORY_LIMIT"]).bytes == 8 * sizing.GB


@pytest.mark.parametrize("memory", ["much", "5G"])
def test_sizing_refuses_what_is_no_host(memory: str):
    result = CliRunner().invoke(APP, ["config", "sizing", "--memory", memory])
    assert isinstance(result.exception, ConfigurationError)


def test_worker_becomes_celery_with_its_environment(monkeypatch):
    seen = []
    monkeypatch.setattr(os, "execve", lambda *arguments: seen.append(arguments))
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/x")
    monkeypatch.setenv("REDIS_URL", "redis://h/0")
    assert CliRunner().invoke(APP, ["worker", "graphrag"]).exit_code == 0
    [(program, argv, environment)] = seen
    assert program == argv[0] and "--pool=gevent" in argv
    assert environment["GEVENT_RESOLVER"] == "ares" and environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("command", [["worker", "main"], ["worker", "graphrag"], ["api"]])
@pytest.mark.parametrize(
    ("given", "missing"),
    [({"DATABASE_URL": "postgresql://h/x"}, "REDIS_URL"), ({"REDIS_URL": "redis://h/0"}, "DATABASE_URL")],
)
def test_what_needs_servers_says_which_is_not_known(monkeypatch, command, given, missing):
    """Celery would look for a RabbitMQ on this machine, for ever."""
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    result = CliRunner().invoke(APP, command)
    assert isinstance(result.exception, ConfigurationError) and str(result.exception).startswith(
        f"{missing} is not set"
    )


def test_worker_refuses_greenlets_on_a_queue_that_computes(monkeypatch):
    monkeypatch.setenv("CELERY_WORKER_POOL", "gevent")
    result = CliRunner().invoke(APP, ["worker", "main"])
    assert isinstance(result.exception, ConfigurationError) and "may not serve default" in str(result.exception)
