"""The schema's history (Alembic) and the command that brings a database to its head."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fileintel.errors import ConfigurationError
from fileintel.settings import load
from fileintel.store import engine as store
from fileintel.store import versions

# Any number will do as long as every host asks for the same one.
LOCK = 7_231_984


def migrate(*, change_dimensions: bool = False) -> str:
    """Bring the database to the newest schema and return its revision; safe to run twice and from two hosts.

    Raises ConfigurationError when FILEINTEL_EMBEDDING_DIMENSIONS contradicts vectors already stored, unless they are to
    go (`change_dimensions`).
    """
    config = _config()
    with store.transaction() as connection:
        store.run(connection, "SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _fit_dimensions(connection, change_dimensions)
    return head()


def head() -> str:
    """The newest revision this package knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise ConfigurationError("this installation carries no migrations: reinstall fileintel")
    return found


def current() -> str | None:
    """The revision the database is at, None for an empty one."""
    with store.transaction() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _has_vectors(connection) -> bool:  # type: ignore[no-untyped-def]
    tables = ("text_units", "entities", "community_reports", "embedding_memo")
    some = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE embedding IS NOT NULL)" for table in tables)
    return bool(store.run(connection, f"SELECT {some}").scalar_one())


def _fit_dimensions(connection, change: bool) -> None:  # type: ignore[no-untyped-def]
    """Vectors have one length per database; another length is another embedding model, so all are made anew."""
    wanted = load().embedding_dimensions
    found = store.run(
        connection,
        "SELECT atttypmod FROM pg_attribute WHERE attrelid = 'text_units'::regclass AND attname = 'embedding'",
    ).scalar_one()
    if found == wanted:
        return
    # A host that shares the database and was told less than the others must not empty it.
    if not change and _has_vectors(connection):
        raise ConfigurationError(
            f"the database holds vectors of {found} dimensions, FILEINTEL_EMBEDDING_DIMENSIONS says {wanted}: "
            f"set it to {found}, or remove them all with `fileintel migrate --change-dimensions`"
        )
    versions.forget_vector_indexes(connection)
    store.run(connection, "DROP INDEX text_units_embedding")
    for table in ("text_units", "entities", "community_reports"):
        store.run(connection, f"UPDATE {table} SET embedding = NULL")
        store.run(connection, f"ALTER TABLE {table} ALTER embedding TYPE vector({wanted})")
    store.run(connection, "CREATE INDEX text_units_embedding ON text_units USING hnsw (embedding vector_cosine_ops)")
    store.run(connection, "TRUNCATE embedding_memo")
    store.run(connection, f"ALTER TABLE embedding_memo ALTER embedding TYPE vector({wanted})")
