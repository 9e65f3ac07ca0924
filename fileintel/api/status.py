"""The route that says how the service fares: what its workers find failing, without being down itself."""

from __future__ import annotations

from fastapi import APIRouter

from fileintel import __version__
from fileintel.api import problems, shapes
from fileintel.api.access import Reader
from fileintel.store import model_servers, runs

router = APIRouter(tags=["work"], responses=problems.documented(401, 403, 503))


@router.get("/status", responses=shapes.example(200, shapes.STATUS, "How the service fares"))
def show_status(key: Reader) -> shapes.Status:
    """Show the model servers that fail the workers, and the calls in flight."""
    return shapes.Status(
        version=__version__, calls_in_flight=runs.calls_in_flight(), failing_model_servers=model_servers.failing()
    )
