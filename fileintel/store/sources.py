"""What an index run is built from: the text units of a collection's ready documents."""

from __future__ import annotations

from fileintel.store.engine import row


def count_text_units(collection_id: str) -> int:
    """How many different text units the collection's ready documents hold."""
    found = row(
        """SELECT count(DISTINCT u.text_unit_id) AS n
           FROM document_text_units u JOIN documents d ON d.id = u.document_id
           WHERE d.collection_id = :collection AND d.state = 'ready'""",
        collection=collection_id,
    )
    return 0 if found is None else int(found["n"])


def unsettled(collection_id: str) -> bool:
    """Whether any of the collection's documents is still to be read."""
    return (
        row(
            "SELECT 1 FROM documents WHERE collection_id = :c AND state IN ('queued', 'processing') LIMIT 1",
            c=collection_id,
        )
        is not None
    )
