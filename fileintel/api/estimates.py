"""The route of estimates, and what a build asks before it begins."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from fileintel.api import jobs, problems, shapes
from fileintel.api.access import ReadCollection
from fileintel.errors import FileIntelError, InputError, ServiceError
from fileintel.model import Collection, Job
from fileintel.settings import load
from fileintel.store import runs
from fileintel.tasks import costs

router = APIRouter(tags=["estimates"], responses=problems.documented(401, 403, 404, 422, 503))
# Shorter than proxies commonly wait; the job goes on behind it.
WAIT_SECONDS = 50.0


class EstimateError(FileIntelError):
    """An estimate could not be made."""

    title = "estimate"


@router.post(
    "/collections/{collection}/estimate",
    responses=shapes.example(200, shapes.JOB, "The estimate is the job's result")
    | shapes.example(202, {**shapes.JOB, "state": "working", "result": None}, "Not ready yet: look at the job again"),
)
async def estimate_build(
    collection: ReadCollection, response: Response, wanted: shapes.NewEstimate | None = None
) -> Job:
    """Work out what a build would ask of the LLM now: calls, tokens, cost, time, and what is remembered already."""
    parameters = (wanted or shapes.NewEstimate()).model_dump(exclude_none=True)
    job = await jobs.ended(await run_in_threadpool(jobs.start, collection.id, "estimate", parameters), WAIT_SECONDS)
    response.headers["Location"] = f"/api/v2/jobs/{job.id}"
    response.status_code = 202 if job.state in ("queued", "working") else 200
    return job


async def confirmation(collection: Collection, wanted: shapes.NewIndexRun) -> tuple[str, dict[str, Any]] | None:
    """Why a build of the collection is to be confirmed first, with its estimate; None when it may begin.

    Raises ServiceError when the estimate takes too long, EstimateError when it cannot be made.
    """
    settings = load()
    if not settings.confirm_above_calls and not settings.confirm_above_cost:
        return None
    last = await run_in_threadpool(runs.latest, collection.id)
    if last is not None and last.state == "running":
        return None  # it is joined, which costs nothing more
    parameters = wanted.model_dump(include={"method", "claims", "recluster"}, exclude_none=True)
    job = await jobs.ended(await run_in_threadpool(jobs.start, collection.id, "estimate", parameters), WAIT_SECONDS)
    if job.state == "failed":
        raise EstimateError(f"what the build will cost could not be estimated ({job.error}): confirm it unseen, or not")
    if job.result is None:
        raise ServiceError("what the build will cost is still being estimated: ask again, or confirm it unseen")
    reason = costs.asks_confirmation(job.result)
    return None if reason is None else (reason, dict(job.result))


def check_prices(budget_cost: float | None) -> None:
    """Raise InputError for a budget in money, given or configured, where there are no prices."""
    settings = load()
    wanted = settings.budget_cost if budget_cost is None else budget_cost
    if wanted and not (settings.price_input or settings.price_output):
        raise InputError(
            "a budget in money needs prices: set FILEINTEL_PRICE_INPUT and FILEINTEL_PRICE_OUTPUT, or give one in calls"
        )
