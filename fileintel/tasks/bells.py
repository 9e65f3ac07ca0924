"""Ringing: Celery messages that carry an id and say that there is work; safe to lose and to hear twice."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from kombu.exceptions import OperationalError

from fileintel.errors import ConflictError, ServiceError
from fileintel.model import IndexRun
from fileintel.settings import load
from fileintel.store import budget, documents, index_steps, jobs, queries, runs, versions, work, workers
from fileintel.store.workers import Bell
from fileintel.tasks import steps
from fileintel.tasks.app import app

logger = logging.getLogger(__name__)

# Tens of LLM calls share one Celery task, since waking a task costs the gevent worker milliseconds.
PULLERS_PER_TASK = 20


def ring_document(document_id: str) -> None:
    """Have a queued document read."""
    _send("ingest.document", [document_id], "document_processing")


def ring_run(run_id: int) -> None:
    """Have every step of an index run that is under way planned and worked on."""
    for name in index_steps.under_way(run_id):
        ring_step(run_id, name)


def ring_step(run_id: int, name: str, countdown: float = 0.0) -> None:
    """Have a step's items planned as far as they are not, and those that nobody has worked on."""
    to_plan = index_steps.to_plan(run_id, name)
    if to_plan is None:
        return
    pending = work.pending(run_id, name)
    if to_plan:
        ring_plan(run_id, name)
    # With nothing pending one message still goes: it finds the step complete and moves the run on.
    if pending or not to_plan:
        ring_items(run_id, name, max(pending, 1), countdown)


def ring_plan(run_id: int, name: str, bell: str | None = None, countdown: float = 0.0) -> None:
    """Have a step's items planned; with a `bell`, unless the step has been rung for again until then."""
    _send("index.plan", [run_id, name, bell], "llm_processing", countdown)


def ring_items(run_id: int, name: str, items: int, countdown: float = 0.0) -> None:
    """Have so many items of a step worked on."""
    step = steps.step(name)
    settings = load()
    if step.waits:
        # As many as all graphrag workers together can have in flight.
        capacity = settings.celery_graphrag_concurrency * max(1, workers.asking())
        tasks = math.ceil(min(items, capacity) / PULLERS_PER_TASK)
    else:
        tasks = min(items, settings.celery_worker_concurrency)
    for _ in range(tasks):
        ring_once(run_id, name, countdown)


def ring_once(run_id: int, name: str, countdown: float = 0.0) -> None:
    """Have one more task work on a step."""
    step = steps.step(name)
    _send("index.pull" if step.waits else "index.work", [run_id, name], step.queue, countdown)


def ring_waiting() -> None:
    """Have a worker that has just come take part in the steps that wait for the LLM."""
    for run in runs.running():
        for name in index_steps.under_way(run.id):
            if steps.step(name).waits and (pending := work.pending(run.id, name)):
                ring_items(run.id, name, pending)


def ring_query(query_id: str) -> None:
    """Have a question's prompts made, or its answer written once they are."""
    if queries.is_planned(query_id):
        _send("query.answer", [query_id], "graphrag_queries")
    else:
        _send("query.plan", [query_id], "rag_processing")


def ring_job(job_id: str) -> None:
    """Have an estimate made, or an export written."""
    _send("jobs.work", [job_id], "default")


def ring_tidy(run_id: int) -> None:
    """Have removed what a complete run no longer needs."""
    _send("upkeep.tidy", [run_id], "default")


def ring_sweep() -> None:
    """Have blobs removed that no document has any more."""
    _send("upkeep.sweep", [], "default")


def ring(bell: Bell) -> None:
    """Ring for what the reaper found unattended."""
    if bell.kind == "document":
        ring_document(bell.id)
    elif bell.kind == "query":
        ring_query(bell.id)
    elif bell.kind == "collection":
        build_again(bell.id)
    else:
        run_id, _, step = bell.id.partition(":")
        ring_step(int(run_id), step)


def build_parameters() -> dict[str, Any]:
    """What a build of the settings in effect is made with."""
    settings = load()
    from fileintel.tasks.models import staged

    return {
        "chat_model": settings.chat_model,
        "entity_types": settings.entity_type_list,
        "extraction_format": settings.extraction_format,
        "max_gleanings": 0 if staged(settings.chat_model) else settings.max_gleanings,
        "max_cluster_size": settings.max_cluster_size,
        "summary_max_length": settings.summary_max_length,
        "summary_max_input_tokens": settings.summary_max_input_tokens,
        "report_max_length": settings.report_max_length,
        "report_max_input_tokens": settings.report_max_input_tokens,
        "budget_calls": settings.budget_calls,
        "budget_cost": settings.budget_cost,
    }


def build_again(collection_id: str) -> None:
    """Build a changed collection's graph anew; one without any readable document has none.

    Where builds are to be confirmed above a threshold it is estimated first, once for each change, and begun only below
    it: nobody is there to say yes.
    """
    settings = load()
    careful = settings.confirm_above_calls or settings.confirm_above_cost
    if careful and documents.states(collection_id).get("ready"):
        job = jobs.ask_to_build(collection_id)
        if job is not None:
            ring_job(job.id)
        return
    try:
        start_index(collection_id)
    except ConflictError as conflict:
        logger.info("%s is not built again: %s", collection_id, conflict)
        if not documents.states(collection_id).get("ready"):
            versions.withdraw(collection_id)


def start_index(collection_id: str, options: Mapping[str, Any] | None = None) -> IndexRun:
    """Begin building a collection's index, or join the build that is running.

    `options` go before the parameters of the settings; `method` and `claims`, where left out, are as in the
    collection's last run. Raises ConflictError when there is no document to build from or a build of another kind is
    running, InputError when the model cannot build as asked.
    """
    states = documents.states(collection_id)
    if sum(states.values()) == states.get("failed", 0):
        raise ConflictError("the collection holds no readable document: add one before building its index")
    settings = load()
    from fileintel.tasks import methods

    wanted = dict(options or {})
    method, claims = wanted.get("method"), wanted.get("claims")
    chosen, with_claims = methods.choose(collection_id, settings.chat_model, method, claims)
    kind = {"method": chosen, "claims": with_claims}
    found, new = runs.start(
        collection_id,
        steps=steps.order(kind),
        chat_model=settings.chat_model,
        embedding_model=settings.embedding_model,
        parameters=build_parameters() | wanted | kind,
    )
    if new:
        ring_run(found.id)
    else:
        methods.refuse_another(found, method, claims)
    return found


def retry_run(run_id: int, *, budget_calls: int | None = None, budget_cost: float | None = None) -> IndexRun:
    """Try what is left of a failed run, within a new budget if one is given; raises ConflictError when it has not
    failed, or stopped for a budget that is not raised."""
    found = budget.resume(run_id, calls=budget_calls, cost=budget_cost)
    ring_run(run_id)
    return found


def broker_ready() -> str:
    """Say that the broker answers; raises ServiceError when it does not."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
    except OperationalError as error:
        raise ServiceError("the Redis broker does not answer: check REDIS_URL and that it runs") from error
    return "ok"


def _send(task: str, arguments: list[Any], queue: str, countdown: float = 0.0) -> None:
    try:
        app.send_task(task, args=arguments, queue=queue, countdown=countdown or None, ignore_result=True)
    except OperationalError as error:
        # What is to be done stands in Postgres, so the work is not lost, only late.
        raise ServiceError("the Redis broker does not answer: check REDIS_URL and that it runs") from error
