"""How much memory and how many connections a configuration needs, and which configuration suits a machine."""

from __future__ import annotations

from dataclasses import dataclass

from fileintel.settings import Bytes, Settings, read

MB = 1024 * 1024
GB = 1024 * MB

# One connection per greenlet is the upper bound (they share a pool); a prefork process holds its pool and its children.
CONNECTIONS_PER_PROCESS = 25
CONNECTIONS_API = 50
CONNECTIONS_BUFFER = 50

# Below, the least that Postgres and a parser need leaves the graphrag worker nothing.
SMALLEST_HOST = 6 * GB

MEMORY_BASE = 500 * MB
MEMORY_PER_GREENLET = 3 * MB // 2
MEMORY_PER_REQUEST = 75 * MB


def connections_needed(settings: Settings) -> int:
    """Connections Postgres must allow: gevent concurrency + prefork workers × 25 + API 50 + buffer 50."""
    prefork = settings.celery_worker_concurrency * CONNECTIONS_PER_PROCESS
    return settings.celery_graphrag_concurrency + prefork + CONNECTIONS_API + CONNECTIONS_BUFFER


def pooled_connections(settings: Settings) -> int:
    """Connections that full pools hold: every prefork process and its parent, the gevent worker and the API."""
    return (settings.celery_worker_concurrency + 3) * settings.database_pool_size


def graphrag_memory_needed(settings: Settings, active_requests: int | None = None) -> int:
    """Bytes of the gevent worker: 500 MB + greenlets × 1.5 MB + active requests × 75 MB; all active by default."""
    greenlets = settings.celery_graphrag_concurrency
    active = greenlets if active_requests is None else active_requests
    return MEMORY_BASE + greenlets * MEMORY_PER_GREENLET + active * MEMORY_PER_REQUEST


@dataclass(frozen=True, slots=True)
class Profile:
    """A set of values that suits a host; `memory` is the host's in GB."""

    name: str
    memory: int
    purpose: str
    values: dict[str, str]

    @property
    def settings(self) -> Settings:
        """The profile's settings, the rest at their defaults."""
        return read(self.values)


def values_for(memory: int) -> dict[str, str]:
    """Return the variables that suit a host with `memory` bytes that runs everything but the LLM server.

    Shares of the memory: graphrag worker 3/10, main worker 1/4, Postgres 1/8, each Redis 1/20; the rest is the
    system's and the page cache's, on which Postgres relies.
    """
    graphrag = Bytes(_size(max(memory * 3 // 10, GB))).bytes
    worker = max(memory // 4, 2 * GB)
    postgres = max(memory // 8, GB)
    redis = max(memory // 20, 256 * MB)
    greenlets = min(max(_down(_greenlets_in(graphrag), 10), 1), 800)
    # Two processes up to 16 GB, then one more per 8 GB: a process that parses a large PDF takes about 1 GB.
    processes = min(max(memory // (8 * GB), 2), 32)
    connections = greenlets + processes * CONNECTIONS_PER_PROCESS + CONNECTIONS_API + CONNECTIONS_BUFFER
    connections = -(-connections // 50) * 50
    # Every connection may use work_mem at once: keep that within what shared_buffers leaves of Postgres's limit.
    work_mem = max(min((postgres - postgres // 4) // connections, 32 * MB), MB)
    parser = min(worker // processes, 2 * GB)
    return {
        "FILEINTEL_PARSER_MEMORY": _size(parser),
        "CELERY_GRAPHRAG_CONCURRENCY": str(greenlets),
        "CELERY_GRAPHRAG_MEMORY_LIMIT": _size(graphrag),
        "CELERY_GRAPHRAG_MEMORY_RESERVATION": _size(graphrag // 8),
        "CELERY_WORKER_CONCURRENCY": str(processes),
        "CELERY_WORKER_MEMORY_LIMIT": _size(worker),
        "CELERY_WORKER_MEMORY_RESERVATION": _size(worker // 8),
        "POSTGRES_MAX_CONNECTIONS": str(connections),
        "POSTGRES_SHARED_BUFFERS": _size(postgres // 4) + "B",
        "POSTGRES_EFFECTIVE_CACHE_SIZE": _size(postgres * 3 // 4) + "B",
        "POSTGRES_WORK_MEM": f"{work_mem // MB}MB",
        "POSTGRES_MAINTENANCE_WORK_MEM": f"{max(min(postgres // 16, GB) // MB, 16)}MB",
        "POSTGRES_MEMORY_LIMIT": _size(postgres),
        "REDIS_MAXMEMORY": _size(redis * 2 // 3).lower() + "b",
        "REDIS_MEMORY_LIMIT": _size(redis),
    }


def _greenlets_in(memory: int) -> int:
    """The most greenlets whose memory, all of them active, fits into `memory` bytes."""
    return (memory - MEMORY_BASE) // (MEMORY_PER_GREENLET + MEMORY_PER_REQUEST)


def _down(number: int, step: int) -> int:
    return number // step * step if number >= step else number


def _size(count: int) -> str:
    """Spell bytes in whole gigabytes where that loses under a tenth, else in whole megabytes."""
    whole = count // GB * GB
    spelling = f"{count // GB}G" if whole and count - whole < count // 10 else f"{count // MB}M"
    return str(Bytes(spelling))


PROFILES = (
    Profile(
        "Conservative",
        16,
        "a small host, or an LLM server that takes a few requests at a time",
        {
            "CELERY_GRAPHRAG_CONCURRENCY": "50",
            "CELERY_GRAPHRAG_MEMORY_LIMIT": "5G",
            "CELERY_GRAPHRAG_MEMORY_RESERVATION": "512M",
            "CELERY_WORKER_CONCURRENCY": "2",
            "CELERY_WORKER_MEMORY_LIMIT": "4G",
            "CELERY_WORKER_MEMORY_RESERVATION": "512M",
            "POSTGRES_MAX_CONNECTIONS": "200",
            "POSTGRES_SHARED_BUFFERS": "512MB",
            "POSTGRES_EFFECTIVE_CACHE_SIZE": "1536MB",
            "POSTGRES_WORK_MEM": "6MB",
            "POSTGRES_MAINTENANCE_WORK_MEM": "128MB",
            "POSTGRES_MEMORY_LIMIT": "2G",
            "REDIS_MAXMEMORY": "512mb",
            "REDIS_MEMORY_LIMIT": "768M",
        },
    ),
    Profile(
        "Balanced",
        64,
        "the defaults, but for two values that use what 64 GB allow",
        {
            "CELERY_WORKER_CONCURRENCY": "8",
            "POSTGRES_WORK_MEM": "12MB",
        },
    ),
    Profile(
        "Aggressive",
        128,
        "a large host in front of an LLM server that batches hundreds of requests",
        {
            "CELERY_GRAPHRAG_CONCURRENCY": "400",
            "CELERY_GRAPHRAG_MEMORY_LIMIT": "40G",
            "CELERY_GRAPHRAG_MEMORY_RESERVATION": "4G",
            "CELERY_WORKER_CONCURRENCY": "16",
            "CELERY_WORKER_MEMORY_LIMIT": "32G",
            "CELERY_WORKER_MEMORY_RESERVATION": "4G",
            "POSTGRES_MAX_CONNECTIONS": "1000",
            "POSTGRES_SHARED_BUFFERS": "4GB",
            "POSTGRES_EFFECTIVE_CACHE_SIZE": "12GB",
            "POSTGRES_WORK_MEM": "12MB",
            "POSTGRES_MAINTENANCE_WORK_MEM": "1GB",
            "POSTGRES_MEMORY_LIMIT": "16G",
            "REDIS_MAXMEMORY": "4gb",
            "REDIS_MEMORY_LIMIT": "6G",
        },
    ),
)
