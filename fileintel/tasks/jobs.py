"""Jobs on request: estimates and exports, on the main worker."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

from fileintel.errors import FileIntelError, ServiceError
from fileintel.model import Job
from fileintel.store import documents, jobs
from fileintel.tasks import bells, costs, methods, process
from fileintel.tasks.app import app

logger = logging.getLogger(__name__)


@app.task(name="jobs.work", queue="default")
def work_on(job_id: str) -> None:
    """Do one job, unless another worker is at it."""
    worker = process.worker_id()
    job = jobs.claim(job_id, worker)
    if job is None:
        return
    try:
        result = KINDS[job.kind](job)
    except ServiceError as error:
        logger.warning("%s %s: %s; it will be tried again", job.kind, job.id, error)
        jobs.release(job.id, worker)
    except FileIntelError as error:
        jobs.fail(job.id, worker, error.code, str(error))
    except Exception as error:
        logger.exception("%s %s", job.kind, job.id)
        jobs.fail(job.id, worker, "internal", f"the {job.kind} failed ({type(error).__name__}): report this")
    else:
        jobs.finish(job.id, worker, result)


def _estimate(job: Job) -> Mapping[str, Any]:
    from fileintel.tasks.estimate import estimate_build

    parameters = bells.build_parameters()
    method, claims = methods.choose(
        job.collection_id, parameters["chat_model"], job.parameters.get("method"), job.parameters.get("claims")
    )
    parameters |= {"method": method, "claims": claims, "recluster": bool(job.parameters.get("recluster"))}
    states = documents.states(job.collection_id)
    found = estimate_build(job.collection_id, parameters)
    steps = [{**dataclasses.asdict(step), "to_make": step.to_make} for step in found.steps]
    result = {
        **dataclasses.asdict(found),
        "steps": steps,
        "chat_model": parameters["chat_model"],
        "method": method,
        "claims": claims,
        "documents_unread": states.get("queued", 0) + states.get("processing", 0),
    }
    if job.parameters.get("build"):
        reason = costs.asks_confirmation(result)
        if reason is None:
            bells.start_index(job.collection_id)
        else:
            logger.info("%s changed and is not built again before it is confirmed: %s", job.collection_id, reason)
    return result


def _export(job: Job) -> Mapping[str, Any]:
    from fileintel.tasks.export import write_export

    return write_export(job)


KINDS: Mapping[str, Callable[[Job], Mapping[str, Any]]] = {"estimate": _estimate, "export": _export}
