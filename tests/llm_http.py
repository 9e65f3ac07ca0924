"""The HTTP of the scripted model server: keep-alive connections, as little work per request as will do."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson

_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 411: b"Length Required"}


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; a request that comes while one is answered waits in the buffer."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.buffer = b""
        self.call: Any = None  # what is answered now
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.call is not None:
            self.server.abandon(self.call)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        self.parse()

    def parse(self) -> None:
        while self.call is None and self.buffer and not self.transport.is_closing():
            buffer = self.buffer
            end = buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head = buffer[:end]
            # A client's heads differ in their lengths alone, so most are known.
            known = self.server.heads.get(head)
            if known is None:
                known = self.read_head(head)
                if known is None:
                    return
            method, target, size = known
            end_of_body = end + size
            if len(buffer) < end_of_body:
                return
            if len(buffer) == end_of_body:
                self.buffer, body = b"", buffer[end:]
            else:
                self.buffer, body = buffer[end_of_body:], buffer[end:end_of_body]
            self.handle(method, target, head, body)

    def read_head(self, head: bytes) -> tuple[str, str, int] | None:
        """Read method, target and length of the body, and remember them; None when the request was refused."""
        length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
        if length is None and re.search(rb"(?i)\r\ntransfer-encoding:", head):
            self.refuse(411, "send a Content-Length")
            self.transport.close()
            return None
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
        if len(self.server.heads) >= 20_000:
            self.server.heads.clear()
        self.server.heads[head] = (method, target, int(length.group(1)) if length else 0)
        return self.server.heads[head]

    def handle(self, method: str, target: str, head: bytes, body: bytes) -> None:
        if method == "POST" and target in ("/v1/chat/completions", "/v1/embeddings"):
            self.server.accept(self, target, head, body)
        elif method == "GET" and target == "/v1/models":
            models = [{"id": name, "object": "model"} for name in self.server.options.models.split(",")]
            self.send(200, orjson.dumps({"object": "list", "data": models}))
        elif target.startswith("/control"):
            self.server.control(self, target, body)
        else:
            self.refuse(404, f"no such route: {method} {target}")

    def send(self, status: int, body: bytes, headers: bytes = b"") -> None:
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
            % (status, _REASONS.get(status, b"Error"), len(body), headers, body)
        )

    def refuse(self, status: int, message: str, retry_after: float = 0) -> None:
        headers = b"Retry-After: %b\r\n" % f"{retry_after:g}".encode() if retry_after else b""
        self.send(status, orjson.dumps({"error": {"message": message, "type": "scripted", "code": status}}), headers)
