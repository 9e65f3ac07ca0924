"""Routes of jobs: estimates and exports while a worker is at them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool

from fileintel.api import problems, shapes
from fileintel.api.access import Reader, reaches
from fileintel.errors import NotFoundError
from fileintel.model import ApiKey, Job, JobKind
from fileintel.store import jobs as store
from fileintel.tasks import bells

router = APIRouter(tags=["jobs"], responses=problems.documented(401, 403, 404, 422, 503))
JobId = Annotated[str, Path(alias="job", max_length=100, description="the job's id")]
_LOOK_AGAIN_SECONDS = 0.1


def start(collection_id: str, kind: JobKind, parameters: Mapping[str, Any]) -> Job:
    """Enter a job and ring for it."""
    job = store.create(collection_id, kind, parameters)
    bells.ring_job(job.id)
    return job


async def ended(job: Job, seconds: float) -> Job:
    """Return the job when it has ended, or as it is after `seconds`; no thread waits meanwhile."""
    end = time.monotonic() + seconds
    pause = _LOOK_AGAIN_SECONDS
    while job.state in ("queued", "working") and time.monotonic() < end:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 1.0)
        job = await run_in_threadpool(store.get, job.id)
    return job


def job_for(key: ApiKey, job_id: str) -> Job:
    """Return the job if the key reaches its collection; raises NotFoundError."""
    missing = NotFoundError(f"there is no job {job_id!r} (they are kept for {store.KEPT_HOURS} hours)")
    try:
        job = store.get(job_id)
    except NotFoundError:
        raise missing from None
    if not reaches(key, job.collection_id):
        raise missing
    return job


@router.get("/jobs/{job}", responses=shapes.example(200, shapes.JOB, "The job, and its result once it has ended"))
def show_job(key: Reader, job_id: JobId) -> Job:
    """Show an estimate or an export and how far it has come."""
    return job_for(key, job_id)
