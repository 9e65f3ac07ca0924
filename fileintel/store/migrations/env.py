"""Alembic's environment: migrations run on the store's own engine, under a lock that two hosts respect."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
