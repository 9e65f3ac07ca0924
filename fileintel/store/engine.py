"""The process's one connection pool, and the transactions on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from psycopg2 import extensions
from sqlalchemy import Connection, CursorResult, Engine, create_engine, event, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from fileintel.errors import ServiceError
from fileintel.settings import load, require

_engines: dict[int, Engine] = {}
# An escaped NUL, and not the end of an escaped backslash before the letters u0000.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def engine() -> Engine:
    """Return this process's engine, made at first use; a forked child makes its own.

    Raises ConfigurationError when no database is configured.
    """
    pid = os.getpid()
    found = _engines.get(pid)
    if found is None:
        settings = load()
        require(settings, "database_url")
        found = create_engine(
            _driver_url(settings.database_url),
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=60,
            pool_use_lifo=True,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        event.listen(found, "connect", _on_connect)
        _engines[pid] = found
    return found


def fill() -> None:
    """Open the pool's connections now: a first connection costs a gevent hub more than it may hold it."""
    with contextlib.ExitStack() as opened:
        for _ in range(load().database_pool_size):
            opened.enter_context(engine().connect())


def dispose() -> None:
    """Close this process's connections (tests, and a process about to end)."""
    found = _engines.pop(os.getpid(), None)
    if found is not None:
        found.dispose()


def forget_inherited() -> None:
    """Drop a parent's engines without closing their sockets, which the parent still uses (after fork)."""
    for pid, inherited in list(_engines.items()):
        if pid != os.getpid():
            inherited.dispose(close=False)
            del _engines[pid]


def cooperate_with_gevent() -> None:
    """Make every psycopg2 call yield to gevent's hub while it waits; without it one query blocks all greenlets."""
    from gevent.socket import wait_read, wait_write

    def wait(connection: Any) -> None:
        while (state := connection.poll()) != extensions.POLL_OK:
            if state == extensions.POLL_READ:
                wait_read(connection.fileno())
            else:
                wait_write(connection.fileno())

    extensions.set_wait_callback(wait)


def cooperates() -> bool:
    """Whether psycopg2's wait callback is set."""
    return extensions.get_wait_callback() is not None


def _driver_url(url: str) -> str:
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg2://" + url.removeprefix(prefix)
    return url


def _on_connect(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'; SET application_name = 'fileintel'")
    connection.commit()


@contextlib.contextmanager
def transaction() -> Iterator[Connection]:
    """One transaction: committed on leaving, rolled back on an exception.

    Raises ServiceError when the database cannot be reached.
    """
    with _answering(), engine().begin() as connection:
        yield connection


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        reason = str(error.orig).strip().splitlines()
        raise ServiceError(f"the database does not answer: {reason[0] if reason else error}") from error
    except PoolTimeoutError as error:
        raise ServiceError("all connections to the database are in use: try again, or raise their number") from error


def run(connection: Connection, sql: str, **values: Any) -> CursorResult[Any]:
    """Execute one statement with named values."""
    return connection.execute(text(sql), values)


@contextlib.contextmanager
def statement() -> Iterator[Connection]:
    """A connection for one statement, which is a transaction of its own and takes one round trip.

    Raises ServiceError when the database cannot be reached.
    """
    with _answering(), engine().connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def rows(sql: str, **values: Any) -> Sequence[Mapping[str, Any]]:
    """All rows of one statement in a transaction of its own."""
    with statement() as connection:
        found = run(connection, sql, **values)
        # Half the time of SQLAlchemy's mappings, which look up the names for every row.
        names = tuple(found.keys())
        return [dict(zip(names, one, strict=True)) for one in found]


def row(sql: str, **values: Any) -> Mapping[str, Any] | None:
    """The first row of one statement in a transaction of its own, or None."""
    with statement() as connection:
        found = run(connection, sql, **values).mappings().first()
        return None if found is None else dict(found)


def execute(sql: str, **values: Any) -> int:
    """Run one statement in a transaction of its own; returns how many rows it touched."""
    with statement() as connection:
        return run(connection, sql, **values).rowcount


def as_json(value: object) -> str:
    """JSON text for a jsonb parameter; what Postgres refuses (NUL, half surrogate pairs) is dropped or replaced."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    # The pattern is slow where there is nothing to find, which is nearly always.
    return _NUL.sub(r"\1", text) if "\\u0000" in text else text


def as_vector(values: Sequence[float]) -> str:
    """pgvector's text form of a vector."""
    return "[" + ",".join(f"{value:.7g}" for value in values) + "]"
