"""A version's tables read in pieces through a server-side cursor, so that none is ever whole in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import text

from fileintel.store.engine import transaction

PIECE = 2_000
Row = Mapping[str, Any]

_HELD = """
    SELECT DISTINCT ON (u.text_unit_id) u.text_unit_id AS id, u.document_id, d.name, d.sha256, u.ordinal
    FROM document_text_units u JOIN documents d ON d.id = u.document_id
    WHERE d.collection_id = :collection AND d.state = 'ready'
    ORDER BY u.text_unit_id, d.sha256, u.ordinal
"""


def _stream(sql: str, **values: Any) -> Iterator[Row]:
    with transaction() as connection:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=PIECE)
        for found in streaming.execute(text(sql), values).mappings():
            yield dict(found)


def documents(collection_id: str) -> Iterator[Row]:
    """The ready documents by name, each with its text units' ids and texts in order."""
    return _stream(
        """SELECT d.id, d.name, d.title, d.created_at, d.sha256, d.media_type, d.pages,
                  array_agg(t.id ORDER BY u.ordinal) AS text_unit_ids, array_agg(t.text ORDER BY u.ordinal) AS texts
           FROM documents d JOIN document_text_units u ON u.document_id = d.id
           JOIN text_units t ON t.id = u.text_unit_id
           WHERE d.collection_id = :collection AND d.state = 'ready' GROUP BY d.id ORDER BY d.name, d.id""",
        collection=collection_id,
    )


def text_units(collection_id: str, version: int) -> Iterator[Row]:
    """The text units in their order, each with the entities and relationships that name it and the claims it makes."""
    return _stream(
        f"""WITH held AS MATERIALIZED ({_HELD}),
            entity_ids AS (
                SELECT m.unit, array_agg(e.id ORDER BY e.number) AS ids
                FROM entities e, unnest(e.text_unit_ids) AS m(unit) WHERE e.version = :version GROUP BY m.unit),
            relationship_ids AS (
                SELECT m.unit, array_agg(e.id ORDER BY e.number) AS ids
                FROM relationships e, unnest(e.text_unit_ids) AS m(unit) WHERE e.version = :version GROUP BY m.unit),
            covariate_ids AS (
                SELECT text_unit_id AS unit, array_agg(id ORDER BY number, id) AS ids
                FROM covariates WHERE version = :version GROUP BY text_unit_id)
            SELECT t.id, t.text, t.n_tokens, h.document_id, COALESCE(e.ids, '{{}}') AS entity_ids,
                   COALESCE(r.ids, '{{}}') AS relationship_ids, COALESCE(c.ids, '{{}}') AS covariate_ids
            FROM held h JOIN text_units t ON t.id = h.id
            LEFT JOIN entity_ids e ON e.unit = t.id LEFT JOIN relationship_ids r ON r.unit = t.id
            LEFT JOIN covariate_ids c ON c.unit = t.id
            ORDER BY h.sha256, h.ordinal""",
        collection=collection_id,
        version=version,
    )


def entities(version: int) -> Iterator[Row]:
    """A version's entities in their own order."""
    return _stream(
        """SELECT id, number, title, type, description, text_unit_ids, frequency, degree
           FROM entities WHERE version = :version ORDER BY number""",
        version=version,
    )


def relationships(version: int) -> Iterator[Row]:
    """A version's relationships in their own order."""
    return _stream(
        """SELECT id, number, source, target, description, weight, combined_degree, text_unit_ids
           FROM relationships WHERE version = :version ORDER BY number""",
        version=version,
    )


def communities(version: int) -> Iterator[Row]:
    """A version's communities by level and number, with the time they were made."""
    return _stream(
        """SELECT c.id, c.number, c.level, c.parent, c.children, c.entity_ids, c.relationship_ids, c.text_unit_ids,
                  COALESCE(r.finished_at, r.created_at) AS made_at
           FROM communities c JOIN index_runs r ON r.id = c.version
           WHERE c.version = :version ORDER BY c.level, c.number""",
        version=version,
    )


def reports(version: int) -> Iterator[Row]:
    """A version's community reports by level and number, with what their communities hold."""
    return _stream(
        """SELECT p.id, p.community, p.level, p.title, p.summary, p.full_content, p.rank, p.rank_explanation,
                  p.findings, c.parent, c.children, cardinality(c.entity_ids) AS size,
                  COALESCE(r.finished_at, r.created_at) AS made_at
           FROM community_reports p JOIN communities c ON c.version = p.version AND c.number = p.community
           JOIN index_runs r ON r.id = p.version
           WHERE p.version = :version ORDER BY p.level, p.community""",
        version=version,
    )


def covariates(collection_id: str, version: int) -> Iterator[Row]:
    """A version's claims in their own order, as far as the collection still holds their text units."""
    return _stream(
        f"""WITH held AS MATERIALIZED ({_HELD})
            SELECT c.id, c.number, c.type, c.description, c.subject, c.object, c.status, c.start_date, c.end_date,
                   c.source_text, c.text_unit_id
            FROM covariates c JOIN held h ON h.id = c.text_unit_id
            WHERE c.version = :version ORDER BY c.number, c.id""",
        collection=collection_id,
        version=version,
    )
