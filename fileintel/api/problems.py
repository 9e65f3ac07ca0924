"""Every error of the API as application/problem+json (RFC 9457), one line of detail each."""

from __future__ import annotations

import http
import logging
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileintel.errors import FileIntelError, ModelServerError, NotAuthenticatedError

MEDIA_TYPE = "application/problem+json"
_PARAMETER = re.compile(r"\{\w+\}")
_log = logging.getLogger("fileintel.api")


class Problem(BaseModel):
    """What went wrong, for a program (`type`) and for a person (`detail`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:fileintel:not-found",
                "title": "not found",
                "status": 404,
                "detail": "no collection is named 'minutes'",
                "instance": "/api/v2/collections/minutes",
            }
        }
    )

    type: str = Field(description="`urn:fileintel:` and the error's stable name")
    title: str = Field(description="the kind of error in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="one line: what is wrong and what cures it")
    instance: str = Field(description="the path that was asked for")


class ProblemResponse(JSONResponse):
    """A response whose body is a Problem."""

    media_type = MEDIA_TYPE


def body(code: str, title: str, status: int, detail: str, instance: str, **more: Any) -> dict[str, Any]:
    """Return a problem's members; `detail` is brought onto one line."""
    line = " ".join(detail.split())
    return {
        "type": f"urn:fileintel:{code}",
        "title": title,
        "status": status,
        "detail": line,
        "instance": instance,
        **more,
    }


def of(error: FileIntelError, instance: str, **more: Any) -> dict[str, Any]:
    """Return the problem an error of ours stands for."""
    return body(error.code, error.title, error.http_status, str(error), instance, **more)


def answer(error: FileIntelError, instance: str, **more: Any) -> ProblemResponse:
    """Return the response an error of ours stands for, `more` being further members of the problem."""
    headers: dict[str, str] = {}
    if isinstance(error, NotAuthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ModelServerError) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.http_status == 413:
        # The rest of the body is never read, so the connection cannot serve another request.
        headers["Connection"] = "close"
    return ProblemResponse(of(error, instance, **more), error.http_status, headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries for these error statuses."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_exception_handler(FileIntelError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_middleware(UnexpectedErrors)


async def _on_ours(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, FileIntelError)
    if error.http_status >= 500:
        _log.warning("%s %s: %s: %s", request.method, request.url.path, error.code, error)
    return answer(error, request.url.path)


async def _on_invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    # Only the place and the rule are told: the value refused may be a secret.
    lines = [f"{_place(e.get('loc', ()))}: {_rule(e)}" for e in error.errors()]
    return ProblemResponse(body("input", "bad input", 422, "; ".join(lines[:5]), request.url.path), 422)


def _rule(error: Mapping[str, Any]) -> str:
    if error["type"] == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "must not be empty"
    return str(error["msg"]).removeprefix("Value error, ")


def _place(location: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    if parts and location[0] == "body" and parts[0].isdigit():  # a JSON syntax error: the place is an offset
        return f"body at character {parts[0]}"
    return ".".join(parts) or "body"


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    status = http.HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    title = status.phrase.lower()
    code = title.replace(" ", "-")
    if status == 404:
        detail = f"there is nothing at {request.url.path}"
    elif status == 405:
        headers["Allow"] = _methods_at(request) or headers.get("Allow", "")
        detail = f"{request.method} is not possible at {request.url.path}: it takes {headers['Allow']}"
    else:
        detail = str(error.detail or status.description or status.phrase)
    return ProblemResponse(body(code, title, status, detail, request.url.path), status, headers)


def _methods_at(request: Request) -> str:
    # The router names the methods of the first route of that path only.
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    fitting = (item for path, item in paths.items() if re.fullmatch(_PARAMETER.sub("[^/]+", path), request.url.path))
    return ", ".join(sorted(method.upper() for item in fitting for method in item))


async def _on_disconnect(request: Request, error: Exception) -> ProblemResponse:
    # Nobody reads this answer; it only keeps a broken upload from being logged as our failure.
    detail = "the connection ended before the request did"
    return ProblemResponse(body("disconnected", "disconnected", 400, detail, request.url.path), 400)


class UnexpectedErrors:
    """Outermost middleware: an exception nobody foresaw becomes a 500 that names only its log entry."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            entry = uuid.uuid4().hex[:12]
            _log.exception("unexpected error %s in %s %s", entry, scope["method"], scope["path"])
            if started:
                raise
            detail = f"unexpected error; the server's log has it under {entry}"
            problem = body("internal", "internal error", 500, detail, scope["path"], id=entry)
            await ProblemResponse(problem, 500)(scope, receive, send)
