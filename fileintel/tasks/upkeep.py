"""Tidying up what nothing refers to any more."""

from __future__ import annotations

import logging

from fileintel.settings import load
from fileintel.store import blobs, jobs, versions
from fileintel.tasks.app import app

logger = logging.getLogger(__name__)


@app.task(name="upkeep.sweep", queue="default")
def sweep() -> None:
    """Remove blobs whose last document was deleted, and exports that nobody fetches any more."""
    removed = blobs.remove_unreferenced(load().blob_dir)
    if removed:
        logger.info("removed %d files whose documents were deleted", removed)
    blobs.remove_exports(jobs.remove_old())


@app.task(name="upkeep.tidy", queue="default")
def tidy(run_id: int) -> None:
    """Remove what a complete index run no longer needs, and versions that are no longer kept."""
    versions.tidy(run_id)
