"""Finding text units and entities for a question: nearest vectors (HNSW) and full text (GIN)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fileintel.model import Anchor, Community, Entity, Source, Vector
from fileintel.store.engine import as_vector, rows, run, transaction
from fileintel.store.graph import ENTITY, entity_of

# Filtering by collection after an HNSW scan loses hits unless the scan goes on until there are enough.
_GO_ON = "SET LOCAL hnsw.iterative_scan = 'relaxed_order'"

_SOURCE = """
    SELECT h.id, h.score, d.id AS document_id, d.name AS document_name, t.text, u.anchors
    FROM hits h JOIN text_units t ON t.id = h.id
    JOIN LATERAL (
        SELECT u.document_id, u.anchors FROM document_text_units u JOIN documents o ON o.id = u.document_id
        WHERE u.text_unit_id = h.id AND o.collection_id = :collection AND o.state = 'ready'
        ORDER BY o.created_at, u.ordinal LIMIT 1
    ) u ON true
    JOIN documents d ON d.id = u.document_id
    ORDER BY h.score DESC, h.id
"""


def nearest_units(collection_id: str, vector: Vector, limit: int) -> list[Source]:
    """A collection's text units nearest to a vector; score is the cosine similarity."""
    with transaction() as connection:
        run(connection, _GO_ON)
        found = run(
            connection,
            """WITH hits AS (
                   SELECT t.id, 1 - (t.embedding <=> CAST(:vector AS vector)) AS score FROM text_units t
                   WHERE t.embedding IS NOT NULL AND EXISTS (
                       SELECT 1 FROM document_text_units u JOIN documents o ON o.id = u.document_id
                       WHERE u.text_unit_id = t.id AND o.collection_id = :collection AND o.state = 'ready')
                   ORDER BY t.embedding <=> CAST(:vector AS vector) LIMIT :limit
               )"""
            + _SOURCE,
            vector=as_vector(vector),
            collection=collection_id,
            limit=limit,
        ).mappings()
        return [_source(dict(hit), number) for number, hit in enumerate(found, start=1)]


def matching_units(collection_id: str, question: str, limit: int) -> list[Source]:
    """A collection's text units sharing words with a question; any word may be missing, rare ones count most.

    score is the sum over the words of how rare each is in the collection (as in BM25) times how often it stands in
    the unit, with less for each further time (`ts_rank` of the one word).
    """
    found = rows(
        """WITH words AS MATERIALIZED (
               SELECT lexeme, quoted::tsquery AS query
               FROM unnest(to_tsvector('english', :question)),
                   LATERAL (SELECT '''' || replace(replace(lexeme, '\\', '\\\\'), '''', '''''') || '''' AS quoted) q
           ), held AS (
               SELECT DISTINCT u.text_unit_id AS id
               FROM document_text_units u JOIN documents o ON o.id = u.document_id
               WHERE o.collection_id = :collection AND o.state = 'ready'
           ), matched AS MATERIALIZED (
               SELECT t.id, t.fulltext FROM text_units t
               WHERE t.fulltext @@ (SELECT string_agg(query::text, '|')::tsquery FROM words)
               AND EXISTS (
                   SELECT 1 FROM document_text_units u JOIN documents o ON o.id = u.document_id
                   WHERE u.text_unit_id = t.id AND o.collection_id = :collection AND o.state = 'ready')
           ), weighed AS MATERIALIZED (
               SELECT w.query, ln(1 + ((SELECT count(*) FROM held) - count(m.id) + 0.5) / (count(m.id) + 0.5)) AS rarity
               FROM words w JOIN matched m ON m.fulltext @@ w.query GROUP BY w.lexeme, w.query
           ), hits AS (
               SELECT m.id, sum(w.rarity * ts_rank(m.fulltext, w.query)) AS score
               FROM matched m JOIN weighed w ON m.fulltext @@ w.query
               GROUP BY m.id ORDER BY score DESC, m.id LIMIT :limit
           )"""
        + _SOURCE,
        question=question,
        collection=collection_id,
        limit=limit,
    )
    return [_source(hit, number) for number, hit in enumerate(found, start=1)]


def units(collection_id: str, unit_ids: Sequence[str]) -> list[Source]:
    """These text units as far as the collection still holds them, in the order asked."""
    found = rows(
        "WITH hits AS (SELECT id, 0.0 AS score FROM text_units WHERE id = ANY(:ids))" + _SOURCE,
        ids=list(unit_ids),
        collection=collection_id,
    )
    by_id = {hit["id"]: hit for hit in found}
    return [_source(by_id[unit], number) for number, unit in enumerate((u for u in unit_ids if u in by_id), start=1)]


def nearest_entities(version: int, vector: Vector, limit: int) -> list[Entity]:
    """A version's entities whose title and description are nearest to a vector."""
    with transaction() as connection:
        run(connection, _GO_ON)
        found = run(
            connection,
            f"""SELECT {ENTITY}
               FROM entities WHERE version = :version AND embedding IS NOT NULL
               ORDER BY embedding <=> CAST(:vector AS vector) LIMIT :limit""",
            version=version,
            vector=as_vector(vector),
            limit=limit,
        ).mappings()
        return [entity_of(dict(entity)) for entity in found]


def nearest_reports(version: int, vector: Vector, communities: Sequence[int], limit: int) -> list[int]:
    """Of these communities those whose reports are nearest to a vector, nearest first."""
    with transaction() as connection:
        run(connection, _GO_ON)
        found = run(
            connection,
            """SELECT community, embedding <=> CAST(:vector AS vector) AS distance FROM community_reports
               WHERE version = :version AND community = ANY(:communities) AND embedding IS NOT NULL
               ORDER BY embedding <=> CAST(:vector AS vector) LIMIT :limit""",
            version=version,
            vector=as_vector(vector),
            communities=list(communities),
            limit=limit,
        ).mappings()
        # An iterative scan in relaxed order gives hits nearly sorted.
        return [hit["community"] for hit in sorted(found, key=lambda hit: (hit["distance"], hit["community"]))]


def hierarchy(version: int) -> list[Community]:
    """All communities of a version that have a report, by level and number, without what they hold."""
    found = rows(
        """SELECT c.id, c.number, c.level, c.parent, c.children, c.title FROM communities c
           WHERE c.version = :v AND EXISTS (
               SELECT 1 FROM community_reports r WHERE r.version = c.version AND r.community = c.number)
           ORDER BY c.level, c.number""",
        v=version,
    )
    return [
        Community(
            id=c["id"],
            number=c["number"],
            level=c["level"],
            parent=c["parent"],
            children=tuple(c["children"]),
            entity_ids=(),
            relationship_ids=(),
            text_unit_ids=(),
            title=c["title"],
        )
        for c in found
    ]


def communities(version: int, numbers: Sequence[int]) -> list[Community]:
    """These communities of a version, by level and number."""
    found = rows(
        """SELECT id, number, level, parent, children, entity_ids, relationship_ids, text_unit_ids, title
           FROM communities WHERE version = :v AND number = ANY(:n) ORDER BY level, number""",
        v=version,
        n=list(numbers),
    )
    lists = ("children", "entity_ids", "relationship_ids", "text_unit_ids")
    return [Community(**{**community, **{name: tuple(community[name]) for name in lists}}) for community in found]


def _source(hit: Mapping[str, Any], number: int) -> Source:
    return Source(
        number=number,
        text_unit_id=hit["id"],
        document_id=hit["document_id"],
        document_name=hit["document_name"],
        text=hit["text"],
        anchors=tuple(Anchor(*anchor) for anchor in hit["anchors"]),
        score=float(hit["score"]),
    )
