"""nix/services.nix, the process list: it says what workers.toml and settings.py say, and refuses what cannot work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fileintel import cli, topology
from fileintel.errors import ConfigurationError
from fileintel.settings import FIELD_OF, Bytes, Settings, is_secret, read

ROOT = Path(__file__).parents[2]
WORKERS = (ROOT / "fileintel" / "workers.toml").read_text(encoding="utf-8")
Evaluate = Callable[[str], Any]


def load(overrides: str = "", workers: str = WORKERS, hosts: str = "") -> str:
    """The expression of the process list."""
    toml = json.dumps(workers).replace("${", "\\${")
    return f"import nix/load.nix {{ overrides = {{ {overrides} }}; hosts = {{ {hosts} }}; workers = fromTOML {toml}; }}"


def listed(evaluate: Evaluate, overrides: str = "", workers: str = WORKERS, hosts: str = "") -> dict[str, Any]:
    return evaluate(f"({load(overrides, workers, hosts)}).services")


@pytest.mark.skipif(shutil.which("nix-instantiate") is None, reason="Nix is not installed: apt-get install nix-bin")
def test_every_file_parses_and_uses_no_undefined_name():
    files = [ROOT / "flake.nix", *(ROOT / "nix").rglob("*.nix"), *(ROOT / "tests" / "nix").rglob("*.nix")]
    done = subprocess.run(["nix-instantiate", "--parse", *files], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0 and len(files) > 15


def test_the_processes_are_those_of_fileintel_up(evaluate: Evaluate):
    services = listed(evaluate)
    workers = [f"worker-{name}" for name in topology.load().workers]
    assert set(services) == {"postgres", "redis-broker", "redis-cache", "migrate", "model-server", "api", *workers}
    assert [name for name, service in services.items() if service["once"]] == ["migrate"]
    for name, service in services.items():
        assert set(service["after"]) <= set(services) - {name}
        assert service["ready"] or service["once"]
        if service["argv"][0] == "fileintel":
            # What the command line does not know cannot be started.
            assert service["argv"][1] in {command for command, _, _ in cli._COMMANDS}
    assert services["worker-graphrag"]["argv"] == ["fileintel", "worker", "graphrag"]


@pytest.mark.parametrize("given", [{}, {"CELERY_GRAPHRAG_CONCURRENCY": "50", "CELERY_WORKER_MEMORY_LIMIT": "6G"}])
def test_a_worker_is_what_the_program_makes_of_it(evaluate: Evaluate, given: dict[str, str]):
    services = listed(evaluate, "".join(f'{name} = "{value}"; ' for name, value in given.items()))
    settings = read(given)
    for name, worker in topology.load().workers.items():
        service = services[f"worker-{name}"]
        assert service["pool"] == worker.pool_in(settings)
        assert service["concurrency"] == worker.concurrency_in(settings)
        assert service["queues"] == list(worker.queues)
        assert service["hostname"] == worker.hostname
        assert service["memoryMax"] == worker.memory_limit_in(settings)
        assert service["memoryReservation"] == getattr(settings, FIELD_OF[worker.memory_reservation])
        assert topology.worker_environment(name, settings).items() <= service["environment"].items()
        assert service["ready"]["exec"] == ["fileintel", "worker", name, "--ping"]


def test_the_environment_is_what_the_program_reads_and_holds_no_secret(evaluate: Evaluate):
    for service in listed(evaluate).values():
        if service["argv"][0] != "fileintel":
            continue
        ours = {name: value for name, value in service["environment"].items() if name in FIELD_OF}
        assert ours.pop("OPENAI_BASE_URL") == "http://127.0.0.1:8701/v1"
        # Said aloud, the defaults are the same as unsaid.
        assert read(ours) == Settings()
        assert not any(is_secret(FIELD_OF[name]) for name in ours)
        assert not ours.keys() & set(service["secrets"])
        assert {"DATABASE_URL"} <= set(service["secrets"]) or service["argv"][1] == "model-server"


def test_only_the_gevent_worker_gets_gevents_variables(evaluate: Evaluate):
    names = {"GEVENT_RESOLVER", "GEVENT_THREADPOOL_SIZE", "PYTHONMALLOC"}
    having = {name for name, service in listed(evaluate).items() if names & service["environment"].keys()}
    assert having == {"worker-graphrag"}


def test_with_a_server_of_ones_own_there_is_no_model_server(evaluate: Evaluate):
    services = listed(evaluate, 'OPENAI_BASE_URL = "http://vllm:8000/v1";')
    assert "model-server" not in services
    assert services["worker-graphrag"]["environment"]["OPENAI_BASE_URL"] == "http://vllm:8000/v1"
    assert services["worker-graphrag"]["after"] == ["migrate", "redis-broker"]
    elsewhere = listed(evaluate, hosts='model-server = "models";')
    assert elsewhere["api"]["environment"]["OPENAI_BASE_URL"] == "http://models:8701/v1"
    assert "--host=0.0.0.0" in elsewhere["model-server"]["argv"]


def test_a_url_without_a_password_is_no_secret(evaluate: Evaluate):
    api = listed(evaluate, 'DATABASE_URL = "postgresql:///fileintel?host=/run/postgresql";')["api"]
    assert api["environment"]["DATABASE_URL"] == "postgresql:///fileintel?host=/run/postgresql"
    assert "DATABASE_URL" not in api["secrets"] and "REDIS_URL" in api["secrets"]


def test_the_broker_keeps_and_the_cache_forgets(evaluate: Evaluate):
    services = listed(evaluate)
    assert services["redis-broker"]["parameters"] == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    assert services["redis-cache"]["parameters"]["maxmemory-policy"] == "allkeys-lru"
    assert services["redis-cache"]["parameters"]["maxmemory"] == "2gb"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ('FILEINTEL_BROKER_MAXMEMORY_POLICY = "allkeys-lru";', "drops queued tasks when memory runs short"),
        ('OPENAI_API_KEY = "sk-1";', "OPENAI_API_KEY holds a secret, and everybody can read the Nix store"),
        ('DATABASE_URL = "postgresql://user:pw@host/name";', "DATABASE_URL holds a secret"),
        ('REDIS_URL = "redis://:pw@host/0";', "REDIS_URL holds a secret"),
        ('DATABASE_URL = "postgresql://host/name?user=u&password=pw";', "DATABASE_URL holds a secret"),
        ("FILEINTEL_CONCURENCY = 1;", "FILEINTEL_CONCURENCY is no setting of FileIntel"),
        ("CELERY_WORKER_CONCURRENCY = 0;", "CELERY_WORKER_CONCURRENCY: expected a whole number from 1"),
        ("CELERY_WORKER_CONCURRENCY = 1.5;", "CELERY_WORKER_CONCURRENCY: expected a whole number"),
        ("FILEINTEL_PARSER_SECONDS = 0;", "FILEINTEL_PARSER_SECONDS: expected a number over 0"),
        ("POSTGRES_CHECKPOINT_COMPLETION_TARGET = 1.5;", "expected a number up to 1"),
        ('POSTGRES_WORK_MEM = "much";', "POSTGRES_WORK_MEM: expected a size such as 512M, 20G or 2gb"),
        ('FILEINTEL_LOG_LEVEL = "LOUD";', "FILEINTEL_LOG_LEVEL: expected one of DEBUG, INFO"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(evaluate: Evaluate, overrides: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate(f"builtins.deepSeq ({load(overrides)}).settings true")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"graphrag_indexing", "graphrag_queries"]', '"graphrag_indexing", "graphrag_querys", "graphrag_queries"]'),
        ('"graphrag_indexing", "graphrag_queries"]', '"graphrag_indexing", "graphrag_queries", "default"]'),
        ('queues = ["default", ', "queues = ["),
    ],
)
def test_a_topology_that_cannot_work_is_refused_in_the_programs_words(evaluate: Evaluate, old: str, new: str):
    broken = WORKERS.replace(old, new)
    assert broken != WORKERS
    with pytest.raises(ConfigurationError) as program:
        topology.parse(broken)
    with pytest.raises(ValueError) as nix:
        listed(evaluate, workers=broken)
    # The program also sees that two pools share a queue.
    said = str(program.value)
    assert said in str(nix.value) or "may not serve default, whose tasks compute" in str(nix.value)


def test_a_gevent_worker_on_a_queue_that_computes_is_refused_in_the_programs_words(evaluate: Evaluate):
    words = topology.problems(topology.load(), read({"CELERY_WORKER_POOL": "gevent"}))[0]
    with pytest.raises(ValueError, match=re.escape(words)):
        listed(evaluate, 'CELERY_WORKER_POOL = "gevent";')


def test_sizes_are_what_the_program_makes_of_them(evaluate: Evaluate):
    spellings = ["20G", "2gb", "512MB", "1536M", "3 GiB", "7k", "12345", "1T", "0"]
    found = evaluate(f"map (import nix/sizes.nix).bytes {json.dumps(spellings).replace(',', ' ')}")
    assert found == [Bytes(spelling).bytes for spelling in spellings]
    systemd = evaluate(f"map (import nix/sizes.nix).systemd {json.dumps(spellings).replace(',', ' ')}")
    assert systemd == ["20G", "2G", "512M", "1536M", "3G", "7K", "12345", "1T", "0"]
    with pytest.raises(ValueError, match="much is no size"):
        evaluate('(import nix/sizes.nix).bytes "much"')
