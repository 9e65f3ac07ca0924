from __future__ import annotations

import socket
import sys
import tomllib
from importlib.resources import files

import pytest

from fileintel import topology
from fileintel.errors import ConfigurationError, NotFoundError
from fileintel.settings import Settings, read

TEXT = files("fileintel").joinpath("workers.toml").read_text(encoding="utf-8")
CPU = ("default", "document_processing", "embedding_processing", "llm_processing", "rag_processing")
WAIT = ("graphrag_indexing", "graphrag_queries")


def test_there_are_two_workers_and_seven_queues():
    layout = topology.load()
    assert {name: worker.queues for name, worker in layout.workers.items()} == {"main": CPU, "graphrag": WAIT}
    assert tuple(layout.queues) == (*CPU, *WAIT)
    assert {name for name, queue in layout.queues.items() if queue.work == "wait"} == set(WAIT)


def test_the_gevent_workers_command_line():
    argv = topology.worker_argv("graphrag", Settings())
    assert argv[:6] == [sys.executable, "-m", "celery", "-A", "fileintel.tasks.app", "worker"]
    assert {
        "--pool=gevent",
        "--concurrency=200",
        "--queues=graphrag_indexing,graphrag_queries",
        "--hostname=graphrag_gevent@%h",
        "--prefetch-multiplier=4",
    } <= set(argv)
    assert not any(word.startswith("--max-memory") for word in argv)


def test_the_prefork_workers_command_line():
    argv = topology.worker_argv("main", read({"CELERY_WORKER_CONCURRENCY": "8", "FILEINTEL_LOG_LEVEL": "DEBUG"}))
    assert {
        "--pool=prefork",
        "--concurrency=8",
        "--queues=" + ",".join(CPU),
        "--hostname=main_prefork@%h",
        "--prefetch-multiplier=1",
        "--loglevel=DEBUG",
    } <= set(argv)
    # A process may take its share of four fifths of the limit, in KiB: 16 GiB × 0.8 / 8.
    assert f"--max-memory-per-child={16 * 1024**2 * 8 // 10 // 8}" in argv


def test_a_worker_is_asked_on_this_host_alone():
    argv = topology.ping_argv("graphrag")
    assert argv[:7] == [sys.executable, "-m", "celery", "-A", "fileintel.tasks.app", "inspect", "ping"]
    assert f"--destination=graphrag_gevent@{socket.gethostname()}" in argv
    with pytest.raises(NotFoundError, match="no worker is named 'grphrag'"):
        topology.ping_argv("grphrag")
    # One that only the host's configuration knows.
    added = topology.ping_argv("questions_gevent@%h")
    assert f"--destination=questions_gevent@{socket.gethostname()}" in added


def test_celery_understands_every_option():
    from celery.bin.worker import worker as command

    for name in topology.load().workers:
        context = command.make_context("worker", topology.worker_argv(name, Settings())[6:], resilient_parsing=True)
        assert context.params["concurrency"] and not context.args


def test_only_the_gevent_worker_gets_gevents_variables():
    added = topology.worker_environment("graphrag", read({"GEVENT_THREADPOOL_SIZE": "9"}))
    assert added["GEVENT_RESOLVER"] == "ares" and added["GEVENT_THREADPOOL_SIZE"] == "9"
    assert added["PYTHONMALLOC"] == "malloc"
    assert "GEVENT_RESOLVER" not in topology.worker_environment("main", Settings())
    assert topology.worker_environment("main", Settings())["HF_HUB_OFFLINE"] == "1"


def test_an_unknown_worker_is_named():
    with pytest.raises(NotFoundError, match="'mian'; there are main, graphrag"):
        topology.worker_argv("mian", Settings())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('pool = "gevent"', 'pool = "eventlet"', "unknown pool 'eventlet'"),
        ('pool = "gevent"', 'pool = "CELERY_WORKER_CONCURRENCY"', "unknown pool"),
        (', "graphrag_queries"]', "]", "queue graphrag_queries is served by no worker"),
        ('"graphrag_queries"]', '"graphrag_querys"]', "graphrag_querys, which workers.toml does not define"),
        ('"graphrag_queries"]', '"graphrag_queries", "default"]', "queue default is served by two pools"),
        ('"graphrag_queries"]', '"graphrag_queries", "graphrag_queries"]', "names the queue graphrag_queries twice"),
        ('graphrag_queries = { work = "wait"', 'graphrag_queries = { work = "cpu"', "whose tasks compute"),
        ('default = { work = "cpu"', 'default = { work = "fast"', "work is 'fast'"),
        ('hostname = "main_prefork@%h"', 'hostname = "graphrag_gevent@%h"', "two workers have the host name"),
        ('"CELERY_GRAPHRAG_CONCURRENCY"', '"CELERY_GRAPHRAG_CONCURENCY"', "is no variable of fileintel/settings.py"),
        ('"GEVENT_RESOLVER"', '"GEVENT_SOLVER"', "GEVENT_SOLVER is no variable"),
        ("prefetch_multiplier = 4", "prefetch_multiplier = 0", "prefetch_multiplier is a whole number from 1"),
        ("prefetch_multiplier = 4", 'prefetch_multiplier = "4"', "prefetch_multiplier has the wrong type"),
        ("prefetch_multiplier = 4", "prefetch = 4", "prefetch is not known here"),
        ("[workers.main]", "[workers.main", "workers.toml: "),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(old: str, new: str, says: str):
    assert TEXT.count(old) == 1
    with pytest.raises(ConfigurationError) as caught:
        topology.parse(TEXT.replace(old, new))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_setting_may_not_put_greenlets_on_a_queue_that_computes():
    found = topology.problems(topology.load(), read({"CELERY_WORKER_POOL": "gevent"}))
    assert len(found) == 1 and found[0].startswith("CELERY_WORKER_POOL: the gevent worker main may not serve default")
    assert topology.problems(topology.load(), Settings()) == []


def test_two_workers_of_one_pool_may_share_a_queue():
    extra = """
[workers.second]
pool = "gevent"
concurrency = "CELERY_GRAPHRAG_CONCURRENCY"
hostname = "second@%h"
queues = ["graphrag_indexing"]
memory_limit = "CELERY_GRAPHRAG_MEMORY_LIMIT"
memory_reservation = "CELERY_GRAPHRAG_MEMORY_RESERVATION"
log_level = "FILEINTEL_LOG_LEVEL"
prefetch_multiplier = 4
variables = []
"""
    assert set(topology.parse(TEXT + extra).workers) == {"main", "graphrag", "second"}


def test_defaults_stand_in_settings_alone():
    for worker in tomllib.loads(TEXT)["workers"].values():
        assert not any(str(value).isdigit() for key, value in worker.items() if key != "prefetch_multiplier")
