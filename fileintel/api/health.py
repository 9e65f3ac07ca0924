"""Routes that say whether the service lives and can work; they need no key and tell no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from fileintel import __version__
from fileintel.api import problems, shapes
from fileintel.errors import FileIntelError
from fileintel.settings import load
from fileintel.store import blobs
from fileintel.store import health as store
from fileintel.tasks import bells

router = APIRouter(tags=["health"])
_OK = {"ok": True, "detail": "ok"}


@router.get("/health/live", responses=shapes.example(200, {"status": "alive", "version": "0.1.0"}, "It lives"))
def live() -> shapes.Alive:
    """Answer as long as the process serves requests at all."""
    return shapes.Alive(status="alive", version=__version__)


def _database() -> dict[str, shapes.Part]:
    return {name: shapes.Part(ok=True, detail=detail) for name, detail in store.ready().items()}


def _broker() -> dict[str, shapes.Part]:
    bells.broker_ready()
    return {"broker": shapes.Part(ok=True, detail="ok")}


def _blobs() -> dict[str, shapes.Part]:
    blobs.check_writable(Path(load().blob_dir))
    return {"blobs": shapes.Part(ok=True, detail="ok")}


@router.get(
    "/health/ready",
    response_model=shapes.Ready,
    responses=shapes.example(
        200,
        {"status": "ready", "parts": {"database": _OK, "migrations": _OK, "broker": _OK, "blobs": _OK}},
        "Every part works",
    )
    | problems.documented(503),
)
def ready(request: Request) -> JSONResponse:
    """Check the database, its migrations, the broker and the document store."""
    parts: dict[str, shapes.Part] = {}
    checks: tuple[tuple[str, Callable[[], dict[str, shapes.Part]]], ...] = (
        ("database", _database),
        ("broker", _broker),
        ("blobs", _blobs),
    )
    for name, check in checks:
        try:
            parts |= check()
        except FileIntelError as error:
            parts[name] = shapes.Part(ok=False, detail=str(error))
    failed = [f"{name}: {part.detail}" for name, part in parts.items() if not part.ok]
    if not failed:
        return JSONResponse(shapes.Ready(status="ready", parts=parts).model_dump())
    shown = {name: part.model_dump() for name, part in parts.items()}
    problem = problems.body("not-ready", "not ready", 503, "; ".join(failed), request.url.path, parts=shown)
    return problems.ProblemResponse(problem, 503)
