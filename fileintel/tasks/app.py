"""The Celery application: queues from workers.toml, and what each worker process does at its start and end."""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery import Celery, signals
from kombu import Queue

from fileintel import topology
from fileintel.settings import load

settings = load()

app = Celery("fileintel", broker=settings.redis_url or None)
app.conf.update(
    include=[
        "fileintel.tasks.ingest",
        "fileintel.tasks.index",
        "fileintel.tasks.jobs",
        "fileintel.tasks.query",
        "fileintel.tasks.upkeep",
    ],
    task_queues=[Queue(name) for name in topology.load().queues],
    task_default_queue="default",
    # A mistyped queue would be made and never served.
    task_create_missing_queues=False,
    # Results, retries and deliveries are rows in Postgres: a lost message is rung again, a second one finds nothing.
    task_ignore_result=True,
    task_acks_late=False,
    task_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    timezone="UTC",
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    # kombu's default of 10 connections fails under 200 greenlets.
    broker_transport_options={
        "max_connections": settings.celery_graphrag_concurrency + 50,
        "socket_keepalive": True,
        "health_check_interval": 30,
    },
    worker_hijack_root_logger=True,
    worker_redirect_stdouts=False,
)


def on_greenlets() -> bool:
    """Whether this process was patched by gevent."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("socket")


@signals.worker_init.connect
def _prepare_worker(**_: Any) -> None:
    # GraphRAG logs what it swallows; we raise it, and the work table keeps it.
    logging.getLogger("graphrag").setLevel(logging.CRITICAL)
    from fileintel.tasks import warming

    if on_greenlets():
        from fileintel.store import engine

        engine.cooperate_with_gevent()
        if not engine.cooperates():
            raise SystemExit("fileintel: psycopg2 would block the gevent worker: its wait callback is not set")
        warming.warm_up_asking()
    else:
        warming.warm_up_computing()
    warming.wait_for_schema()


@signals.worker_ready.connect
def _begin_on_greenlets(sender: Any, **_: Any) -> None:
    if on_greenlets():
        from fileintel.tasks import process, warming

        warming.warm_up_ringing()
        process.begin(sender.hostname)


@signals.worker_process_init.connect
def _begin_child(**_: Any) -> None:
    from fileintel.documents import start_parsing_process
    from fileintel.store import engine
    from fileintel.tasks import process

    engine.forget_inherited()
    process.begin("main_prefork")
    start_parsing_process()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    from fileintel.tasks import process

    process.end()
