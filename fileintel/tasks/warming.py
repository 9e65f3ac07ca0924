"""What a worker process does before its first task, so that no task pays for it."""

from __future__ import annotations

import gc
import importlib
import logging
import socket
import time
from collections.abc import Iterator

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from fileintel.errors import ServiceError
from fileintel.graph.extract import extract_graph
from fileintel.graph.lean import leave_out_litellm
from fileintel.graph.report import community_report
from fileintel.graph.summarize import summarize_descriptions
from fileintel.model import ChatAnswer, ChatRequest
from fileintel.store import engine, health
from fileintel.tasks import models

logger = logging.getLogger(__name__)

_REPORT = '{"title": "-", "summary": "-", "findings": [], "rating": 1, "rating_explanation": "-"}'
_EXTRACTION = '("entity"<|>A<|>EVENT<|>a)##("relationship"<|>A<|>A<|>a<|>1)##<|COMPLETE|>'


SCHEMA_SECONDS = 120.0


class Rehearsal:
    """A chat model that answers every request at once with a well-formed nothing."""

    def complete(self, request: ChatRequest) -> ChatAnswer:
        """Answer in the form the request asks for."""
        return ChatAnswer(_REPORT if request.json_schema is not None else _EXTRACTION)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Yield the same."""
        yield self.complete(request).content


def warm_up_asking() -> None:
    """Import and try once all that would keep the gevent hub waiting at its first use."""
    leave_out_litellm()
    engine.fill()
    models.chat_client()
    socket.getaddrinfo("localhost", 80)
    text, rehearsal = "Rehearsal.", Rehearsal()
    extract_graph(text, chat=rehearsal, model="", entity_types=["event"], max_gleanings=1, staged=False)
    summarize_descriptions(
        "REHEARSAL",
        [text, "A rehearsal."],
        chat=rehearsal,
        model="",
        tokenizer=models.tokenizer(),
        max_length=10,
        max_input_tokens=100,
        staged=False,
    )
    community_report(0, 0, text, chat=rehearsal, model="", max_length=10, stage_inputs=None)
    _spare_garbage_search()


def warm_up_ringing() -> None:
    """Reach the broker as bells do, which takes tens of milliseconds of CPU the first time; one that is away just now
    leaves that to the first bell."""
    from fileintel.tasks.app import app

    try:
        with app.producer_pool.acquire(block=True) as producer:
            app.amqp.create_task_message("rehearsal", "query.plan", ["rehearsal"], {})
            app.amqp.router.route({"queue": "rag_processing"}, "query.plan")
            producer.connection.ensure_connection(max_retries=1, timeout=2)
            # The pool of connections that messages are written through makes its first one here.
            producer.channel.client.ping()
    except (OperationalError, RedisError) as error:
        logger.warning("the broker is not warmed up: %s", type(error).__name__)


def warm_up_computing() -> None:
    """Import GraphRAG's parts before the processes are forked, which then share them."""
    leave_out_litellm()
    for module in (
        "graphrag.index.operations.cluster_graph",
        "graphrag.query.context_builder.community_context",
        "graphrag.query.context_builder.local_context",
        "graphrag.query.context_builder.source_context",
        "graphrag.query.context_builder.rate_prompt",
        "graphrag.prompts.query.drift_search_system_prompt",
    ):
        importlib.import_module(module)
    models.tokenizer().count("rehearsal")
    _spare_garbage_search()


def wait_for_schema() -> None:
    """Return once the database is migrated, which may be under way beside this; ends the process when it is not."""
    end = time.monotonic() + SCHEMA_SECONDS
    while True:
        try:
            health.ready()
            return
        except ServiceError as error:
            if time.monotonic() > end:
                raise SystemExit(f"fileintel: {error}") from error
            time.sleep(0.2)


def _spare_garbage_search() -> None:
    # GraphRAG's imports leave a million objects; searching them for garbage takes half a second, and undoes sharing.
    gc.collect()
    gc.freeze()
