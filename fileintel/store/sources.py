"""What an index run is built from: the text units of a collection's ready documents."""

from __future__ import annotations

from collections.abc import Sequence

from fileintel.store.engine import row, rows

# The text units (`unit`) of a collection's ready documents, each once, and their `place` from 1 on in an order that
# depends on the documents' contents alone; to be formatted with an expression for the collection's id.
UNITS_IN_ORDER = """
    SELECT text_unit_id AS unit, row_number() OVER (ORDER BY sha256, ordinal) AS place FROM (
        SELECT DISTINCT ON (u.text_unit_id) u.text_unit_id, d.sha256, u.ordinal
        FROM document_text_units u JOIN documents d ON d.id = u.document_id
        WHERE d.collection_id = {collection} AND d.state = 'ready'
        ORDER BY u.text_unit_id, d.sha256, u.ordinal
    ) units
"""
UNITS_OF_RUN = UNITS_IN_ORDER.format(collection="(SELECT collection_id FROM index_runs WHERE id = :id)")


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


def texts(unit_ids: Sequence[str]) -> dict[str, str]:
    """The texts of those of the text units that there still are, by id."""
    found = rows("SELECT id, text FROM text_units WHERE id = ANY(:ids)", ids=list(unit_ids))
    return {unit["id"]: unit["text"] for unit in found}


def numbered_texts(version: int, unit_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The numbers that text units were given in a version's collection, and their texts, as far as there are both."""
    found = rows(
        """SELECT t.id, n.number, t.text FROM text_units t JOIN graph_numbers n ON n.id = t.id
           JOIN index_runs r ON r.collection_id = n.collection_id WHERE r.id = :v AND t.id = ANY(:ids)""",
        v=version,
        ids=list(unit_ids),
    )
    return {unit["id"]: (unit["number"], unit["text"]) for unit in found}
