"""The queues and workers of workers.toml, validated, and how each worker is started."""

from __future__ import annotations

import socket
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, cast, get_args

from fileintel.errors import ConfigurationError, NotFoundError
from fileintel.settings import FIELD_OF, Bytes, Pool, Settings

Work = Literal["cpu", "wait"]
CELERY_APP = "fileintel.tasks.app"

_WORKER_KEYS = {
    "pool": str,
    "concurrency": str,
    "hostname": str,
    "queues": list,
    "memory_limit": str,
    "memory_reservation": str,
    "log_level": str,
    "prefetch_multiplier": int,
    "variables": list,
}


@dataclass(frozen=True, slots=True)
class Queue:
    """A Celery queue; `work` says whether its tasks compute ("cpu") or wait for a server ("wait")."""

    name: str
    work: Work
    does: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker as workers.toml describes it.

    `concurrency`, `memory_limit`, `memory_reservation`, `log_level` and `variables` are names of environment variables;
    `pool` is a pool's name or the name of the variable that holds it.
    """

    name: str
    pool: str
    concurrency: str
    hostname: str
    queues: tuple[str, ...]
    memory_limit: str
    memory_reservation: str
    log_level: str
    prefetch_multiplier: int
    variables: tuple[str, ...]

    def pool_in(self, settings: Settings) -> Pool:
        """The pool's name under `settings`."""
        return cast(Pool, self.pool if self.pool in get_args(Pool) else _value(self.pool, settings))

    def concurrency_in(self, settings: Settings) -> int:
        """Processes or greenlets under `settings`."""
        return int(_value(self.concurrency, settings))

    def memory_limit_in(self, settings: Settings) -> Bytes:
        """The memory over which the worker is killed."""
        return Bytes(_value(self.memory_limit, settings))


@dataclass(frozen=True, slots=True)
class Topology:
    """All queues and workers; `environment` is set for every worker."""

    queues: Mapping[str, Queue]
    workers: Mapping[str, Worker]
    environment: Mapping[str, str]

    def worker(self, name: str) -> Worker:
        """Return the worker of that name; raises NotFoundError."""
        if name not in self.workers:
            raise NotFoundError(f"no worker is named {name!r}; there are {', '.join(self.workers)}")
        return self.workers[name]


@lru_cache(maxsize=1)
def load() -> Topology:
    """Return the topology of the installed workers.toml; raises ConfigurationError if it cannot work."""
    return parse(files("fileintel").joinpath("workers.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Topology:
    """Read the text of a workers.toml; raises ConfigurationError with its first problem."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"workers.toml: {error}") from error
    _only(data, {"queues": dict, "workers": dict, "environment": dict}, "workers.toml")
    queues = {name: _queue(name, entry) for name, entry in data["queues"].items()}
    workers = {name: _worker(name, entry) for name, entry in data["workers"].items()}
    topology = Topology(queues, workers, {name: str(value) for name, value in data["environment"].items()})
    found = problems(topology)
    if found:
        raise ConfigurationError(found[0])
    return topology


def problems(topology: Topology, settings: Settings | None = None) -> list[str]:
    """Say, one line each, what cannot work; without `settings` only what no setting could cure."""
    found: list[str] = []
    served: dict[str, Worker] = {}
    for worker in topology.workers.values():
        for name in worker.queues:
            if name not in topology.queues:
                found.append(f"worker {worker.name} serves the queue {name}, which workers.toml does not define")
            elif name in served and served[name] is worker:
                found.append(f"worker {worker.name} names the queue {name} twice")
            elif name in served and served[name].pool != worker.pool:
                found.append(f"the queue {name} is served by two pools, of {served[name].name} and {worker.name}")
            served.setdefault(name, worker)
        found += _pool_problems(topology, worker, settings)
    found += [f"the queue {name} is served by no worker" for name in topology.queues if name not in served]
    names = [worker.hostname for worker in topology.workers.values()]
    found += [f"two workers have the host name {name}" for name in sorted(set(names)) if names.count(name) > 1]
    return found


def _pool_problems(topology: Topology, worker: Worker, settings: Settings | None) -> list[str]:
    if settings is not None:
        pool, source = worker.pool_in(settings), f"{worker.pool}: " if worker.pool in FIELD_OF else ""
    elif worker.pool in FIELD_OF:
        return []
    else:
        pool, source = cast(Pool, worker.pool), ""
    # The reverse, waiting on processes, is only slow; computing on greenlets stops every one of them.
    computing = [name for name in worker.queues if name in topology.queues and topology.queues[name].work == "cpu"]
    if pool != "gevent" or not computing:
        return []
    return [f"{source}the gevent worker {worker.name} may not serve {', '.join(computing)}, whose tasks compute"]


def worker_argv(name: str, settings: Settings) -> list[str]:
    """Return the command line that runs worker `name`; raises NotFoundError."""
    worker = load().worker(name)
    pool, concurrency = worker.pool_in(settings), worker.concurrency_in(settings)
    argv = [
        *(sys.executable, "-m", "celery", "-A", CELERY_APP, "worker"),
        f"--pool={pool}",
        f"--concurrency={concurrency}",
        f"--queues={','.join(worker.queues)}",
        f"--hostname={worker.hostname}",
        f"--prefetch-multiplier={worker.prefetch_multiplier}",
        f"--loglevel={_value(worker.log_level, settings)}",
        # Workers need not know each other, and liveness is a row in Postgres: no event traffic in the broker.
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    if pool == "prefork":
        # A process that has grown over its share is replaced after its task, before the limit kills them all.
        share = worker.memory_limit_in(settings).bytes * 8 // 10 // concurrency
        argv.append(f"--max-memory-per-child={share // 1024}")
    return argv


def ping_argv(name: str) -> list[str]:
    """Return the command line that asks a worker whether it answers: worker `name` on this host, or, of one that
    workers.toml does not know, the name Celery knows it by (`%h` is this host); raises NotFoundError."""
    node = (name if "@" in name else load().worker(name).hostname).replace("%h", socket.gethostname())
    return [
        sys.executable,
        "-m",
        "celery",
        "-A",
        CELERY_APP,
        "inspect",
        "ping",
        f"--destination={node}",
        "--timeout=10",
    ]


def worker_environment(name: str, settings: Settings) -> dict[str, str]:
    """Return the variables to set beside the inherited ones for worker `name`; raises NotFoundError."""
    topology = load()
    chosen = {variable: _value(variable, settings) for variable in topology.worker(name).variables}
    return {**topology.environment, **chosen}


def _value(variable: str, settings: Settings) -> str:
    return str(getattr(settings, FIELD_OF[variable]))


def _queue(name: str, entry: Any) -> Queue:
    where = f"workers.toml: queue {name}"
    _only(entry, {"work": str, "does": str}, where)
    if entry["work"] not in get_args(Work):
        raise ConfigurationError(f"{where}: work is {entry['work']!r}, expected one of {', '.join(get_args(Work))}")
    return Queue(name, entry["work"], entry["does"])


def _worker(name: str, entry: Any) -> Worker:
    where = f"workers.toml: worker {name}"
    _only(entry, _WORKER_KEYS, where)
    if not all(isinstance(item, str) for key in ("queues", "variables") for item in entry[key]):
        raise ConfigurationError(f"{where}: queues and variables are lists of names")
    if entry["pool"] not in get_args(Pool) and FIELD_OF.get(entry["pool"]) != "celery_worker_pool":
        pools = ", ".join(get_args(Pool))
        raise ConfigurationError(f"{where}: unknown pool {entry['pool']!r}, expected one of {pools}")
    if entry["prefetch_multiplier"] < 1:
        raise ConfigurationError(f"{where}: prefetch_multiplier is a whole number from 1")
    single = [entry[key] for key in ("concurrency", "memory_limit", "memory_reservation", "log_level")]
    for variable in [*single, *entry["variables"]]:
        if variable not in FIELD_OF:
            raise ConfigurationError(f"{where}: {variable} is no variable of fileintel/settings.py")
    return Worker(name=name, **{**entry, "queues": tuple(entry["queues"]), "variables": tuple(entry["variables"])})


def _only(entry: Any, keys: Mapping[str, type], where: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where}: expected a table")
    wrong = sorted(set(entry) ^ set(keys))
    if wrong:
        raise ConfigurationError(f"{where}: {wrong[0]} is {'not known here' if wrong[0] in entry else 'missing'}")
    for key, kind in keys.items():
        if not isinstance(entry[key], kind):
            raise ConfigurationError(f"{where}: {key} has the wrong type, expected {kind.__name__}")
