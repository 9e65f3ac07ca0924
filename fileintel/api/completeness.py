"""The route of an index's completeness."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from fileintel.api import problems, shapes
from fileintel.api.access import ReadCollection
from fileintel.store import completeness as store
from fileintel.store import runs

router = APIRouter(tags=["graph"], responses=problems.documented(401, 403, 404, 422, 503))
_MOST_EXAMPLES = 1_000
_EXAMPLE = {
    "complete": False,
    "version": 7,
    "checks": [{"name": "communities reported", "total": 24, "missing": 1, "examples": ["community 5"]}],
    "run": 8,
    "failures": [
        {
            "step": "create_community_reports",
            "key": "5",
            "attempts": 5,
            "error": "the model's answer is not the JSON that CommunityReportResponse asks for",
            "raw_answer": None,
        }
    ],
}
Full = Annotated[bool, Query(description="with the model's unusable answers, and all that is missing by name")]


@router.get(
    "/collections/{collection}/check",
    responses=shapes.example(200, _EXAMPLE, "What is complete, and what is missing"),
)
def check_index(collection: ReadCollection, full: Full = False) -> shapes.Completeness:
    """Check the published index: all extracted, described, reported and embedded, nothing left over, nothing failed."""
    version = collection.published_version
    examples = _MOST_EXAMPLES if full else store.EXAMPLES
    checks = [] if version is None else store.checks(collection.id, version, examples=examples)
    last = runs.latest(collection.id)
    # What failed before a complete build was made good by it.
    failures = [] if last is None or last.state == "complete" else store.failures(last.id, full=full)
    return shapes.Completeness(
        complete=version is not None and not failures and not any(check.missing for check in checks),
        version=version,
        checks=checks,
        run=None if last is None else last.id,
        failures=[shapes.CheckedItem(**failure) for failure in failures],
    )
