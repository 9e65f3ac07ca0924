"""What the engine, Postgres, Redis and Celery say of the containers that compose.yaml describes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from compose_file import pairs
from external import EXTERNAL
from stack import SERVERS, WORKERS, Stack, size

from fileintel import topology
from fileintel.settings import FIELD_OF, read

OWN = [name for name in (*SERVERS, *WORKERS, "api") if name not in EXTERNAL.services()]
own_postgres = pytest.mark.skipif(bool(EXTERNAL.database_url), reason="FILEINTEL_TEST_DATABASE_URL is given")
own_redis = pytest.mark.skipif(bool(EXTERNAL.redis_url), reason="FILEINTEL_TEST_REDIS_URL is given")


@pytest.mark.parametrize("name", OWN)
def test_a_container_is_nobody_in_particular_and_cannot_write(deployment: Stack, name: str) -> None:
    found = deployment.inspect(name)
    assert found["Config"]["User"] not in ("", "0", "0:0", "root")
    assert deployment.execute(name, ["id", "-u"]).strip() != "0"
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges:true"]
    for place in ("/", "/usr/bin", "/etc"):
        denied = deployment.inner(name).exec_run(["sh", "-c", f"echo no > {place}/written"], user="0:0")
        assert denied.exit_code != 0 and b"Read-only file system" in denied.output, denied.output
    deployment.execute(name, ["sh", "-c", "echo yes > /tmp/written && rm /tmp/written"])
    status = deployment.execute(name, ["cat", "/proc/1/status"])
    lines = dict(line.split(":", 1) for line in status.splitlines())
    assert int(lines["CapEff"], 16) == 0 and lines["NoNewPrivs"].strip() == "1"


def test_memory_limits_are_those_of_workers_toml(deployment: Stack) -> None:
    settings = read({})
    for name, worker in topology.load().workers.items():
        limit = worker.memory_limit_in(settings).bytes
        host = deployment.inspect(f"worker-{name}")["HostConfig"]
        reserved = size(getattr(settings, FIELD_OF[worker.memory_reservation]))
        assert host["Memory"] == limit and host["MemoryReservation"] == reserved > 0
        assert deployment.kernel_limit(f"worker-{name}") == limit
    for name in set(OWN) & set(SERVERS):
        limit = size(deployment.described(name)["deploy"]["resources"]["limits"]["memory"])
        assert deployment.inspect(name)["HostConfig"]["Memory"] == deployment.kernel_limit(name) == limit > 0


def test_celery_reports_the_split_of_the_work(deployment: Stack) -> None:
    inspect = ["celery", "-A", "fileintel.tasks.app", "inspect", "--json", "--timeout=10"]
    queues = json.loads(deployment.execute("worker-main", [*inspect, "active_queues"]))
    workers = topology.load().workers
    served = {node: {queue["name"] for queue in found} for node, found in queues.items()}
    assert served == {
        worker.hostname.replace("%h", f"worker-{name}"): set(worker.queues) for name, worker in workers.items()
    }
    stats: dict[str, Any] = json.loads(deployment.execute("worker-graphrag", [*inspect, "stats"]))
    pools = {node.split("@")[0]: found["pool"] for node, found in stats.items()}
    assert "gevent" in pools["graphrag_gevent"]["implementation"]
    assert "prefork" in pools["main_prefork"]["implementation"]
    assert len(pools["main_prefork"]["processes"]) == 2


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_passes_the_health_check_of_compose(deployment: Stack, name: str) -> None:
    deployment.ready(name)


@own_postgres
def test_postgres_says_it_is_tuned_as_compose_says(deployment: Stack) -> None:
    wanted = pairs(deployment.described("postgres")["command"])
    assert len(wanted) == 8
    names = ", ".join(f"current_setting('{name}') AS {name}" for name in wanted)
    (shown,) = deployment.rows(f"SELECT {names}")
    # What SHOW says, in one row. Postgres answers in the largest unit that fits: 2048MB is 2GB to it.
    assert {name: comparable(value) for name, value in shown.items()} == {
        name: comparable(value) for name, value in wanted.items()
    }


def comparable(value: str) -> float:
    """A size in bytes, or a number."""
    return size(value) if value[-1] == "B" else float(value)


@own_redis
@pytest.mark.parametrize("name", ["redis-broker", "redis-cache"])
def test_redis_says_its_policies_are_those_of_compose(deployment: Stack, name: str) -> None:
    wanted = pairs(deployment.described(name)["command"])
    assert wanted["maxmemory-policy"] == ("noeviction" if name == "redis-broker" else "allkeys-lru")
    for parameter, value in wanted.items():
        lines = deployment.execute(name, ["redis-cli", "-e", "CONFIG", "GET", parameter]).splitlines()
        shown = dict(zip(lines[::2], lines[1::2] or [""], strict=True))[parameter]
        assert shown == (str(size(value)) if parameter == "maxmemory" else value)
