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


def migrate() -> str:
    """Bring the database to the newest schema and return its revision; safe to run twice and from two hosts.

    Raises ConfigurationError when FILEINTEL_EMBEDDING_DIMENSIONS contradicts vectors already stored.
    """
    config = _config()
    with store.transaction() as connection:
        store.run(connection, "SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _fit_dimensions(connection)
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


def _fit_dimensions(connection) -> None:  # type: ignore[no-untyped-def]
    """Vectors have one length per database; another length is another embedding model, so all are made anew."""
    wanted = load().embedding_dimensions
    found = store.run(
        connection,
        "SELECT atttypmod FROM pg_attribute WHERE attrelid = 'text_units'::regclass AND attname = 'embedding'",
    ).scalar_one()
    if found == wanted:
        return
    versions.forget_vector_indexes(connection)
    store.run(connection, "DROP INDEX text_units_embedding")
    for table in ("text_units", "entities", "community_reports"):
        store.run(connection, f"UPDATE {table} SET embedding = NULL")
        store.run(connection, f"ALTER TABLE {table} ALTER embedding TYPE vector({wanted})")
    store.run(connection, "CREATE INDEX text_units_embedding ON text_units USING hnsw (embedding vector_cosine_ops)")
    store.run(connection, "TRUNCATE embedding_memo")
    store.run(connection, f"ALTER TABLE embedding_memo ALTER embedding TYPE vector({wanted})")
