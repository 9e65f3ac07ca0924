"""Collections."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError

from fileintel.errors import ConflictError, InputError, NotFoundError
from fileintel.model import Collection
from fileintel.store import documents
from fileintel.store.engine import execute, row, rows, run, transaction

_SELECT = """
    SELECT c.id, c.name, c.description, c.created_at, c.published_version,
           (SELECT count(*) FROM documents d WHERE d.collection_id = c.id) AS documents
    FROM collections c
"""
NAME_LENGTH = 200


def create(name: str, description: str = "") -> Collection:
    """Make a collection; raises ConflictError when the name is taken, InputError when it is empty or too long."""
    name = name.strip()
    if not name or len(name) > NAME_LENGTH or any(not c.isprintable() or c == "/" for c in name):
        raise InputError(f"a collection's name has 1 to {NAME_LENGTH} printable characters and no '/': choose another")
    collection_id = str(uuid.uuid4())
    try:
        execute(
            "INSERT INTO collections (id, name, description) VALUES (:id, :name, :description)",
            id=collection_id,
            name=name,
            description=description,
        )
    except IntegrityError as error:
        raise ConflictError(f"a collection named '{name}' exists already: use it, or choose another name") from error
    return get(collection_id)


def get(name_or_id: str) -> Collection:
    """The collection of that name or id; raises NotFoundError."""
    found = row(_SELECT + "WHERE c.id = :it OR c.name = :it ORDER BY c.id = :it DESC LIMIT 1", it=name_or_id)
    if found is None:
        raise NotFoundError(f"there is no collection '{name_or_id[:NAME_LENGTH]}': list them, or create it first")
    return _collection(found)


def list_all() -> list[Collection]:
    """All collections by name."""
    return [_collection(found) for found in rows(_SELECT + "ORDER BY c.name")]


def delete(collection_id: str) -> None:
    """Remove a collection with its documents, graph and questions; what was remembered of LLM calls stays."""
    with transaction() as connection:
        held = documents.text_units_of(
            connection, "u.document_id IN (SELECT id FROM documents WHERE collection_id = :it)", collection_id
        )
        if run(connection, "DELETE FROM collections WHERE id = :id", id=collection_id).rowcount == 0:
            raise NotFoundError(f"there is no collection '{collection_id}'")
        documents.delete_unheld(connection, held)


def _collection(found: Mapping[str, Any]) -> Collection:
    return Collection(**found)
