"""The embedded Postgres and broker alone, without FileIntel's own processes: for tests and tools."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from fileintel.embedded import broker, postgres
from fileintel.embedded.broker import Broker
from fileintel.embedded.postgres import Postgres
from fileintel.embedded.state import StateDir
from fileintel.embedded.supervisor import Service, Supervisor
from fileintel.settings import Settings

# After so many failed starts in a row (1 + 2 + 4 + 8 + 16 s) there is something a person must see to.
_RESTARTS = 5


def postgres_service(server: Postgres) -> Service:
    """The embedded Postgres as a service."""
    return Service(
        name=postgres.NAME,
        command=server.command,
        is_ready=lambda child: server.is_ready(),
        detail=server.described,
        # Fast stop: ends sessions and writes a checkpoint, so that the next start has nothing to recover.
        stop_signal=signal.SIGINT,
        hurry_signal=signal.SIGQUIT,
        grace_seconds=30.0,
        restarts=_RESTARTS,
    )


def broker_service(server: Broker) -> Service:
    """The embedded broker as a service."""
    return Service(
        name=broker.NAME,
        command=server.command,
        is_ready=lambda child: server.is_ready(),
        detail=lambda: f"port {server.port}",
        hurry_signal=signal.SIGTERM,
        restarts=_RESTARTS,
    )


@contextlib.contextmanager
def services(
    state_dir: Path, *, settings: Settings | None = None, keep: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[dict[str, str]]:
    """Run Postgres and the broker on a state folder; yields DATABASE_URL and REDIS_URL.

    Nobody restarts them here if they die. With `keep=False` their data is deleted at the end, also what root's
    Postgres keeps outside a closed state folder. Enter it in the main thread. Raises ConflictError if the folder is in
    use, ServiceError if one does not start.
    """
    state = StateDir(state_dir)
    with state.lock():
        database = Postgres(state, postgres.tuning(settings or Settings(state_dir=state.path)))
        queue = Broker(state)
        supervisor = Supervisor(
            state, [postgres_service(database), broker_service(queue)], say=say or (lambda line: None)
        )
        try:
            supervisor.start()
            yield {"DATABASE_URL": database.url, "REDIS_URL": queue.url}
        finally:
            supervisor.stop()
            if not keep:
                database.delete()
                queue.delete()
