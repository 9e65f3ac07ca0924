"""What an index run is built from: the text units of a collection's ready documents."""

from __future__ import annotations

from collections.abc import Sequence

from fileintel.store.engine import row, rows


def text_unit_ids(collection_id: str) -> list[str]:
    """The collection's text units, each once, in an order that depends on the documents' contents alone."""
    found = rows(
        """SELECT text_unit_id FROM (
               SELECT DISTINCT ON (u.text_unit_id) u.text_unit_id, d.sha256, u.ordinal
               FROM document_text_units u JOIN documents d ON d.id = u.document_id
               WHERE d.collection_id = :collection AND d.state = 'ready'
               ORDER BY u.text_unit_id, d.sha256, u.ordinal
           ) units ORDER BY sha256, ordinal""",
        collection=collection_id,
    )
    return [unit["text_unit_id"] for unit in found]


def unsettled(collection_id: str) -> bool:
    """Whether any of the collection's documents is still to be read."""
    return (
        row(
            "SELECT 1 FROM documents WHERE collection_id = :c AND state IN ('queued', 'processing') LIMIT 1",
            c=collection_id,
        )
        is not None
    )


def texts(unit_ids: Sequence[str]) -> dict[str, str]:
    """The texts of those of the text units that there still are, by id."""
    found = rows("SELECT id, text FROM text_units WHERE id = ANY(:ids)", ids=list(unit_ids))
    return {unit["id"]: unit["text"] for unit in found}
