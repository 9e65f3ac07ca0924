"""Servers that tests are given instead of starting their own: empty, and reachable from containers where those run.

FILEINTEL_TEST_DATABASE_URL, FILEINTEL_TEST_REDIS_URL and FILEINTEL_TEST_CACHE_URL name them; the cache is the broker
unless it is named.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


def _taken(name: str) -> str:
    # No settings of FileIntel's, which refuses what it does not know.
    return os.environ.pop(f"FILEINTEL_TEST_{name}", "")


@dataclass(frozen=True)
class External:
    """Addresses of servers that are there already; "" where tests start one."""

    database_url: str = ""
    redis_url: str = ""
    cache_url: str = ""

    def environment(self) -> dict[str, str]:
        """What processes are told of them."""
        cache = self.cache_url or self.redis_url
        named = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "FILEINTEL_CACHE_URL": cache}
        return {name: value for name, value in named.items() if value}

    def services(self) -> set[str]:
        """The services of compose.yaml that they stand for."""
        found = {"postgres"} if self.database_url else set()
        return found | ({"redis-broker", "redis-cache"} if self.redis_url else set())


EXTERNAL = External(_taken("DATABASE_URL"), _taken("REDIS_URL"), _taken("CACHE_URL"))
