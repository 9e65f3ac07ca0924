"""Server-sent events of a question: a blocking follower in a thread, heartbeats when it is silent."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

from fastapi.responses import StreamingResponse

from fileintel.errors import FileIntelError, ServiceError
from fileintel.store import model_servers
from fileintel.tasks import events

MOST_STREAMS = 200
_HEARTBEAT_SECONDS = 10.0
# After so long a silence it is asked whether a model server fails, and again after as long.
_QUIET_SECONDS = 4.0
_log = logging.getLogger("fileintel.api")
_streams = threading.BoundedSemaphore(MOST_STREAMS)

Event = tuple[str, Any]


def response(query_id: str, timeout: float) -> StreamingResponse:
    """Return the stream of a question's events; raises ServiceError when this process follows too many already."""
    if not _streams.acquire(blocking=False):
        raise ServiceError(f"{MOST_STREAMS} answers are being streamed already: ask for the answer itself instead")
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_written(query_id, timeout), media_type="text/event-stream", headers=headers)


async def _written(query_id: str, timeout: float) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    seen: asyncio.Queue[Event | None] = asyncio.Queue()
    gone = threading.Event()

    def put(event: Event | None) -> None:
        try:
            loop.call_soon_threadsafe(seen.put_nowait, event)
        except RuntimeError:  # the server stopped and its loop is closed
            gone.set()

    # Its own thread: following takes as long as an answer does, and must not use up the threads of the database.
    threading.Thread(target=_pump, args=(query_id, timeout, put, gone), name="follow", daemon=True).start()
    try:
        # Sent at once, so that proxies and clients see the stream open.
        yield ": following\n\n"
        while True:
            try:
                event = await asyncio.wait_for(seen.get(), _HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ": still working\n\n"
                continue
            if event is None:
                return
            kind, data = event
            yield f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, default=str)}\n\n"
    finally:
        gone.set()


def _pump(query_id: str, timeout: float, put: Callable[[Event | None], None], gone: threading.Event) -> None:
    quiet_since = time.monotonic()
    try:
        for kind, data in events.follow(query_id, timeout):
            if gone.is_set():
                return
            if kind != "wait":
                put((kind, data))
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _QUIET_SECONDS:
                quiet_since = time.monotonic()
                for server in model_servers.failing():
                    put(("waiting", asdict(server)))
    except FileIntelError as error:
        put(("error", {"code": error.code, "detail": str(error)}))
    except Exception:
        _log.exception("following question %s failed", query_id)
        put(("error", {"code": "internal", "detail": "unexpected error; see the server's log"}))
    finally:
        _streams.release()
        put(None)
