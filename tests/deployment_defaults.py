"""The variables and defaults of the deployment FileIntel replaces, once for all tests that hold something to them."""

from __future__ import annotations

GEVENT = {"GEVENT_RESOLVER": "ares", "GEVENT_THREADPOOL_SIZE": "50", "PYTHONMALLOC": "malloc"}
# design.md, "The two workers": what the deployment we replace was run with.
DESIGN = {
    "CELERY_GRAPHRAG_CONCURRENCY": "200",
    "CELERY_GRAPHRAG_MEMORY_LIMIT": "20G",
    "CELERY_GRAPHRAG_MEMORY_RESERVATION": "2G",
    "CELERY_WORKER_POOL": "prefork",
    "CELERY_WORKER_CONCURRENCY": "4",
    "CELERY_WORKER_MEMORY_LIMIT": "16G",
    "CELERY_WORKER_MEMORY_RESERVATION": "2G",
    "POSTGRES_MAX_CONNECTIONS": "500",
    "POSTGRES_SHARED_BUFFERS": "2GB",
    "POSTGRES_EFFECTIVE_CACHE_SIZE": "6GB",
    "POSTGRES_WORK_MEM": "32MB",
    "POSTGRES_MEMORY_LIMIT": "8G",
    "POSTGRES_MAINTENANCE_WORK_MEM": "512MB",
    "POSTGRES_CHECKPOINT_COMPLETION_TARGET": "0.9",
    "POSTGRES_WAL_BUFFERS": "16MB",
    "POSTGRES_RANDOM_PAGE_COST": "1.1",
    "REDIS_MAXMEMORY": "2gb",
    "REDIS_MEMORY_LIMIT": "3G",
}
