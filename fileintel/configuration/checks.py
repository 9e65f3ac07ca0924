"""Whether a configuration can work: one line per problem."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from fileintel import topology
from fileintel.configuration import sizing
from fileintel.errors import ConfigurationError, ServiceError
from fileintel.settings import FIELD_OF, Bytes, Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a configuration; an error can not work, a warning may hurt."""

    severity: Literal["error", "warning"]
    text: str


def check(
    settings: Settings, environment: Mapping[str, str] | None = None, *, ask_broker: bool = True
) -> list[Problem]:
    """Return the problems of `settings`, errors first.

    `environment` is looked through for misspelt names; with `ask_broker` the Redis at `redis_url`, if it is reachable,
    is asked for its eviction policy.
    """
    found = [
        *_workers(settings),
        *_connections(settings),
        *_memory(settings),
        *_urls(settings),
        *_documents(settings),
        *_budgets(settings),
        *_broker(settings, ask_broker),
        *_misspelt(environment or {}),
    ]
    return sorted(found, key=lambda problem: problem.severity)


def _error(text: str) -> Problem:
    return Problem("error", text)


def _warning(text: str) -> Problem:
    return Problem("warning", text)


def _workers(settings: Settings) -> Iterator[Problem]:
    try:
        layout = topology.load()
    except ConfigurationError as error:
        yield _error(str(error))
        return
    for text in topology.problems(layout, settings):
        yield _error(text)


def _connections(settings: Settings) -> Iterator[Problem]:
    allowed = settings.postgres_max_connections
    needed = sizing.connections_needed(settings)
    if needed > allowed:
        gevent, prefork = settings.celery_graphrag_concurrency, settings.celery_worker_concurrency
        yield _error(
            f"POSTGRES_MAX_CONNECTIONS={allowed} is below the {needed} connections needed (gevent {gevent} + prefork "
            f"{prefork} × {sizing.CONNECTIONS_PER_PROCESS} + API {sizing.CONNECTIONS_API} + buffer "
            f"{sizing.CONNECTIONS_BUFFER}): raise it to {needed}, or lower a worker's concurrency"
        )
    pooled = sizing.pooled_connections(settings)
    if pooled + sizing.CONNECTIONS_BUFFER > allowed:
        yield _error(
            f"FILEINTEL_DATABASE_POOL_SIZE={settings.database_pool_size}: full pools of all processes hold {pooled} "
            f"connections, POSTGRES_MAX_CONNECTIONS={allowed} leaves room for {allowed - sizing.CONNECTIONS_BUFFER}"
        )


def _memory(settings: Settings) -> Iterator[Problem]:
    limit = settings.postgres_memory_limit
    if settings.postgres_shared_buffers.bytes >= limit.bytes:
        yield _error(
            f"POSTGRES_SHARED_BUFFERS={settings.postgres_shared_buffers} does not fit into "
            f"POSTGRES_MEMORY_LIMIT={limit}"
        )
    sorting = settings.postgres_work_mem.bytes * settings.postgres_max_connections
    if sorting > limit.bytes:
        yield _warning(
            f"POSTGRES_WORK_MEM={settings.postgres_work_mem} × {settings.postgres_max_connections} connections is "
            f"{_gb(sorting)}, over POSTGRES_MEMORY_LIMIT={limit}: Postgres may be killed when all of them sort at once"
        )
    if settings.redis_maxmemory.bytes >= settings.redis_memory_limit.bytes:
        yield _error(
            f"REDIS_MAXMEMORY={settings.redis_maxmemory} does not fit into REDIS_MEMORY_LIMIT="
            f"{settings.redis_memory_limit}: Redis needs some for itself"
        )
    for worker in ("celery_graphrag", "celery_worker"):
        upper: Bytes = getattr(settings, f"{worker}_memory_limit")
        lower: Bytes = getattr(settings, f"{worker}_memory_reservation")
        if lower.bytes > upper.bytes:
            name = worker.upper()
            yield _error(f"{name}_MEMORY_RESERVATION={lower} is more than {name}_MEMORY_LIMIT={upper}")
    needed = sizing.graphrag_memory_needed(settings)
    if needed > settings.celery_graphrag_memory_limit.bytes:
        yield _warning(
            f"CELERY_GRAPHRAG_MEMORY_LIMIT={settings.celery_graphrag_memory_limit} is below the {_gb(needed)} that "
            f"{settings.celery_graphrag_concurrency} active requests may take (500 MB + greenlets × 1.5 MB + requests "
            f"× 75 MB)"
        )
    parsing = settings.parser_memory.bytes * settings.celery_worker_concurrency
    if settings.parser_memory.bytes > settings.celery_worker_memory_limit.bytes:
        yield _error(
            f"FILEINTEL_PARSER_MEMORY={settings.parser_memory} is more than the worker's whole "
            f"CELERY_WORKER_MEMORY_LIMIT={settings.celery_worker_memory_limit}"
        )
    elif parsing > settings.celery_worker_memory_limit.bytes:
        yield _warning(
            f"FILEINTEL_PARSER_MEMORY={settings.parser_memory} × {settings.celery_worker_concurrency} processes is "
            f"{_gb(parsing)}, over CELERY_WORKER_MEMORY_LIMIT={settings.celery_worker_memory_limit}"
        )


def _urls(settings: Settings) -> Iterator[Problem]:
    schemes = {
        "DATABASE_URL": ("postgresql", "postgresql+psycopg2", "postgres"),
        "REDIS_URL": ("redis", "rediss", "unix"),
        "FILEINTEL_CACHE_URL": ("redis", "rediss", "unix"),
        "OPENAI_BASE_URL": ("http", "https"),
        "FILEINTEL_EMBEDDING_BASE_URL": ("http", "https"),
        "FILEINTEL_API_URL": ("http", "https"),
    }
    for variable, allowed in schemes.items():
        value = getattr(settings, FIELD_OF[variable])
        # The value itself may hold a password and is not repeated.
        if value and value.partition("://")[0] not in allowed:
            yield _error(f"{variable} is no URL that starts with {allowed[0]}://")
    embedded = Settings.model_fields["chat_model"].default
    if settings.openai_base_url and settings.chat_model == embedded and not _on_loopback(settings.openai_base_url):
        yield _warning(f"OPENAI_BASE_URL is set, but FILEINTEL_CHAT_MODEL still names the embedded model {embedded}")
    if settings.cache_url and settings.cache_url == settings.redis_url:
        yield _warning("FILEINTEL_CACHE_URL is the broker itself: leave it empty, or give it a database of its own")


def _documents(settings: Settings) -> Iterator[Problem]:
    if settings.text_unit_overlap >= settings.text_unit_tokens:
        yield _error(
            f"FILEINTEL_TEXT_UNIT_OVERLAP={settings.text_unit_overlap} must be below "
            f"FILEINTEL_TEXT_UNIT_TOKENS={settings.text_unit_tokens}"
        )
    if not settings.entity_type_list:
        yield _error("FILEINTEL_ENTITY_TYPES names no entity type")


def _budgets(settings: Settings) -> Iterator[Problem]:
    if settings.price_input or settings.price_output:
        return
    for name in ("confirm_above_cost", "budget_cost"):
        if getattr(settings, name):
            yield _error(
                f"FILEINTEL_{name.upper()} is set without prices: set FILEINTEL_PRICE_INPUT and "
                "FILEINTEL_PRICE_OUTPUT, or a limit in calls"
            )


def _broker(settings: Settings, ask: bool) -> Iterator[Problem]:
    why = "it drops queued tasks when memory runs short; only noeviction keeps them"
    if settings.broker_maxmemory_policy != "noeviction":
        yield _error(f"FILEINTEL_BROKER_MAXMEMORY_POLICY={settings.broker_maxmemory_policy}: {why}")
    if not ask or not settings.redis_url:
        return
    try:
        policy = broker_policy(settings.redis_url)
    except ServiceError as error:
        yield _warning(str(error))
        return
    if policy != "noeviction":
        yield _error(f"the broker at REDIS_URL has maxmemory-policy {policy}: {why}")


def broker_policy(url: str, timeout: float = 3.0) -> str:
    """Ask a running Redis for its maxmemory-policy; raises ServiceError if it cannot be reached or does not tell."""
    import redis

    try:
        with redis.Redis.from_url(url, protocol=2, socket_timeout=timeout, socket_connect_timeout=timeout) as client:
            answer = client.config_get("maxmemory-policy")
    except (redis.RedisError, ValueError, OSError) as error:
        kind = type(error).__name__
        raise ServiceError(f"the broker at REDIS_URL could not be asked for its maxmemory-policy ({kind})") from None
    if not isinstance(answer, dict) or "maxmemory-policy" not in answer:
        raise ServiceError("the broker at REDIS_URL does not tell its maxmemory-policy")
    return str(answer["maxmemory-policy"])


def _misspelt(environment: Mapping[str, str]) -> Iterator[Problem]:
    for name in sorted(environment):
        if name in FIELD_OF or not name.startswith(("CELERY_", "POSTGRES_", "REDIS_", "GEVENT_", "OPENAI_")):
            continue
        near = difflib.get_close_matches(name, FIELD_OF, n=1, cutoff=0.93)
        if near:
            yield _warning(f"{name} is not read by FileIntel; did you mean {near[0]}?")


def _on_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _gb(count: int) -> str:
    return f"{count / sizing.GB:.1f} GB"
