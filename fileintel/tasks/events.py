"""An answer on its way to whoever asked: pieces through a Redis stream, the whole from its row.

The stream is a convenience that may vanish at any time (it lives in the cache); the answer in Postgres is the truth.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import orjson
from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from fileintel.model import Answer
from fileintel.settings import load
from fileintel.store import queries

logger = logging.getLogger(__name__)

# Published last, so that a follower need not wait to learn that the row is complete.
END = "end"
KEPT_SECONDS = 600
LONGEST = 20_000
_LOOK_AGAIN_SECONDS = 1.0


@lru_cache(maxsize=1)
def _redis() -> Redis:
    settings = load()
    return Redis(
        connection_pool=ConnectionPool.from_url(
            settings.cache_url or settings.redis_url, max_connections=1000, socket_timeout=10, socket_keepalive=True
        )
    )


def _name(query_id: str) -> str:
    return f"fileintel:answer:{query_id}"


def publish(query_id: str, kind: str, data: dict[str, Any]) -> None:
    """Send one event to whoever follows the question; without a cache nobody hears it and nothing is lost."""
    try:
        with _redis().pipeline(transaction=False) as pipeline:
            pipeline.xadd(_name(query_id), {"kind": kind, "data": orjson.dumps(data)}, maxlen=LONGEST)
            pipeline.expire(_name(query_id), KEPT_SECONDS)
            pipeline.execute()
    except RedisError as error:
        logger.warning("a piece of answer %s could not be streamed: %s", query_id, type(error).__name__)


def follow(query_id: str, timeout: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("delta", {"text"}) as the answer grows ("restart", {} when it is begun anew), then ("answer", {...}) or
    ("error", {"code", "detail"}); also ("wait", {}) about every second while nothing comes.

    Ends after `timeout` seconds with an error event of code `timeout`; the question goes on.
    """
    end, last = time.monotonic() + timeout, "0-0"
    while time.monotonic() < end:
        heard, last = _hear(query_id, last)
        yield from ((kind, data) for kind, data in heard if kind != END)
        if not heard or heard[-1][0] == END:
            final = outcome(query_id)
            if final is not None:
                yield final
                return
            yield "wait", {}
    yield "error", {"code": "timeout", "detail": "no answer yet: ask for the query again later"}


def outcome(query_id: str) -> tuple[str, dict[str, Any]] | None:
    """The question's final event from its row; None while it is open."""
    query = queries.get(query_id)
    if query.state == "complete" and query.answer is not None:
        return "answer", answer_json(query.answer)
    if query.state == "failed":
        return "error", {"code": query.error_code, "detail": query.error}
    return None


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as plain JSON values."""
    return asdict(answer)


def _hear(query_id: str, last: str) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    try:
        found: Any = _redis().xread({_name(query_id): last}, block=int(_LOOK_AGAIN_SECONDS * 1000))
    except RedisError as error:
        logger.warning("answer %s cannot be followed piece by piece: %s", query_id, type(error).__name__)
        time.sleep(_LOOK_AGAIN_SECONDS)
        return [], last
    heard = []
    streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or ()]
    for entries in streams:
        # RESP3 wraps a stream's entries in one more list.
        flat = (
            entries[0] if entries and isinstance(entries[0], list) and not isinstance(entries[0][0], bytes) else entries
        )
        for entry, fields in flat:
            last = entry.decode()
            heard.append((fields[b"kind"].decode(), orjson.loads(fields[b"data"])))
    return heard, last
