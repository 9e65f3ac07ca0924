"""Limits on requests: bodies that are read whole (JSON) are small, paths hold no NUL; uploads keep their own."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileintel.api import problems

MAX_JSON_BYTES = 1 << 20


class RequestLimits:
    """Answers 413 to a body over `MAX_JSON_BYTES`, announced or streamed, on every route but the upload."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\x00" in scope["path"]:  # Postgres has no text with NUL in it, so nothing can be named so
            path = scope["path"].replace("\x00", "%00")
            problem = problems.body("not-found", "not found", 404, f"there is nothing at {path}", path)
            await problems.ProblemResponse(problem, 404)(scope, receive, send)
            return
        if scope["method"] == "POST" and scope["path"].endswith("/documents"):
            await self.app(scope, receive, send)
            return
        detail = f"the request's body is over the limit of {MAX_JSON_BYTES} bytes"
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > MAX_JSON_BYTES:
            problem = problems.body("content-too-large", "content too large", 413, detail, scope["path"])
            await problems.ProblemResponse(problem, 413, {"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_JSON_BYTES:
                raise HTTPException(413, detail, {"Connection": "close"})
            return message

        await self.app(scope, counted, send)
