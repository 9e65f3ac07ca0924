"""The application: routers, error handling, the OpenAPI document."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from fileintel import __version__
from fileintel.api import (
    claims,
    collections,
    completeness,
    documents,
    estimates,
    exports,
    graph,
    health,
    index_runs,
    jobs,
    keys,
    limits,
    problems,
    queries,
    status,
    work,
)
from fileintel.api.access import Reader
from fileintel.settings import load
from fileintel.store import blobs

PREFIX = "/api/v2"
_DESCRIPTION = (
    "Documents in, a knowledge graph built from them, questions answered with citations that can be checked. "
    "Every route but `/health/…` takes an API key. Errors are `application/problem+json`."
)
_log = logging.getLogger("fileintel.api")


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    removed = await run_in_threadpool(blobs.sweep, Path(load().blob_dir))
    if removed:
        _log.info("removed %d files that broken uploads had left", removed)
    yield


def create_app() -> FastAPI:
    """Build the application; the factory that `fileintel api` hands to the server."""
    app = FastAPI(
        title="FileIntel",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_life,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.add_middleware(limits.RequestLimits)
    problems.install(app)
    nouns = (
        collections,
        documents,
        estimates,
        index_runs,
        graph,
        claims,
        completeness,
        exports,
        jobs,
        queries,
        work,
        status,
        keys,
    )
    for noun in nouns:
        app.include_router(noun.router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(health.router, prefix=PREFIX, include_in_schema=False)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            named = schema.setdefault("components", {}).setdefault("schemas", {})
            named["Problem"] = problems.Problem.model_json_schema()
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    def show_openapi(key: Reader) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return app.openapi()

    app.add_api_route(f"{PREFIX}/openapi.json", show_openapi, include_in_schema=False, response_model=None)
    page = (Path(__file__).parent / "docs.html").read_text(encoding="utf-8")

    def show_docs() -> HTMLResponse:
        """Return the page that shows the OpenAPI document; it holds nothing until it is given a key."""
        policy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})

    app.add_api_route(f"{PREFIX}/docs", show_docs, include_in_schema=False, response_model=None)
