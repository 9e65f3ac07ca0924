"""Whether the database can serve."""

from __future__ import annotations

from fileintel.errors import ServiceError
from fileintel.store import migrations
from fileintel.store.engine import row


def ready() -> dict[str, str]:
    """What was checked and how it stands; raises ServiceError when the database is away or not migrated."""
    row("SELECT 1")
    current, head = migrations.current(), migrations.head()
    if current != head:
        raise ServiceError(f"the database is at migration {current}, not {head}: run `fileintel migrate`")
    return {"database": "ok", "migrations": head}
