"""Routes of index runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from fileintel.api import estimates, problems, shapes
from fileintel.api.access import ReadCollection, Reader, WriteCollection, Writer, reaches
from fileintel.api.collections import Limit, Offset
from fileintel.api.pace import Pace
from fileintel.errors import ConfirmationNeededError, NotFoundError
from fileintel.model import ApiKey, IndexRun
from fileintel.store import completeness, model_servers, work
from fileintel.store import runs as store
from fileintel.tasks import bells

router = APIRouter(tags=["index runs"], responses=problems.documented(401, 403, 404, 422, 503))
RunId = Annotated[int, Path(alias="run", ge=1, lt=2**31, description="the run's number", examples=[7])]
_pace = Pace()


def _run_for(key: ApiKey, run_id: int) -> IndexRun:
    missing = NotFoundError(f"there is no index run {run_id}")
    try:
        run = store.get(run_id)
    except NotFoundError:
        raise missing from None
    if not reaches(key, run.collection_id):
        raise missing
    return run


def _progress(run: IndexRun) -> shapes.IndexProgress:
    steps = store.progress(run.id)
    done = sum(step.done for step in steps)
    left = sum(step.pending + step.leased for step in steps)
    failed = sum(step.failed for step in steps)
    running = run.state == "running"
    return shapes.IndexProgress(
        run=run,
        steps=steps,
        calls_in_flight=store.calls_in_flight() if running else 0,
        eta_seconds=_pace.seconds_left(run.id, done, left) if running else None,
        failures=[shapes.Failure(**failure) for failure in store.failures(run.id)] if failed else [],
        retrying=[shapes.Failure(**item) for item in completeness.retrying(run.id)] if running and left else [],
        unreadable=work.unreadable(run.id),
        failing_model_servers=model_servers.failing() if running else [],
    )


@router.post(
    "/collections/{collection}/index-runs",
    status_code=202,
    response_model=IndexRun,
    responses=shapes.example(202, shapes.RUN, "The run that was started, or the one running already")
    | problems.documented(409),
)
async def start_index_run(
    collection: WriteCollection, request: Request, response: Response, wanted: shapes.NewIndexRun | None = None
) -> IndexRun | Response:
    """Build the collection's index; a build that runs already is joined.

    Above the thresholds that ask first, the answer is a problem `confirmation-needed` with the `estimate`, unless
    `confirmed` is true.
    """
    wanted = wanted or shapes.NewIndexRun()
    estimates.check_prices(wanted.budget_cost)
    if not wanted.confirmed:
        asked = await estimates.confirmation(collection, wanted)
        if asked is not None:
            reason, found = asked
            error = ConfirmationNeededError(f'confirm this build first (`--yes`, or "confirmed": true): {reason}')
            return problems.answer(error, request.url.path, estimate=found)
    options = wanted.model_dump(exclude={"confirmed"}, exclude_none=True)
    run = await run_in_threadpool(bells.start_index, collection.id, options)
    response.headers["Location"] = f"/api/v2/index-runs/{run.id}"
    return run


@router.get(
    "/collections/{collection}/index-runs",
    responses=shapes.page_example(shapes.RUN, "The collection's runs"),
)
def list_index_runs(collection: ReadCollection, limit: Limit = 100, offset: Offset = 0) -> shapes.Page[IndexRun]:
    """List a collection's index runs."""
    return shapes.page(store.list_for(collection.id, limit=limit + 1, offset=offset), limit, offset)


@router.get("/index-runs/{run}", responses=shapes.example(200, shapes.PROGRESS, "The run and its progress"))
def show_index_run(key: Reader, run_id: RunId) -> shapes.IndexProgress:
    """Show a run: its step, items done and left per step, calls in flight, tokens, time left."""
    return _progress(_run_for(key, run_id))


@router.post(
    "/index-runs/{run}/retry",
    status_code=202,
    responses=shapes.example(202, shapes.RUN, "The run, going on") | problems.documented(409),
)
def retry_index_run(key: Writer, run_id: RunId, wanted: shapes.NewBudget | None = None) -> IndexRun:
    """Try a failed run's failed items again, or go on with one that its budget stopped; nothing is done twice."""
    run = _run_for(key, run_id)
    wanted = wanted or shapes.NewBudget()
    estimates.check_prices(wanted.budget_cost)
    return bells.retry_run(run.id, budget_calls=wanted.budget_calls, budget_cost=wanted.budget_cost)


@router.post(
    "/index-runs/{run}/cancel",
    responses=shapes.example(200, {**shapes.RUN, "state": "cancelled"}, "The run") | problems.documented(409),
)
def cancel_index_run(key: Writer, run_id: RunId) -> IndexRun:
    """Stop a run; what it learned stays remembered, what is published stays as it is."""
    run = _run_for(key, run_id)
    return store.cancel(run.id)
