"""The graph of an index version: entities, relationships, communities, community reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fileintel.errors import NotFoundError
from fileintel.model import Community, CommunityReport, Entity, Finding, Relationship, Vector
from fileintel.store.engine import as_json, as_vector, execute, row, rows, run, transaction

ENTITY = "id, number AS human_readable_id, title, type, description, text_unit_ids, frequency, degree, descriptions"
_RELATIONSHIP = (
    "id, number AS human_readable_id, source, target, description, weight, combined_degree, text_unit_ids, descriptions"
)
_COMMUNITY = "id, number, level, parent, children, entity_ids, relationship_ids, text_unit_ids, title"
_REPORT = "id, community, level, title, summary, full_content, rank, rank_explanation, findings"


def counts(version: int) -> dict[str, int]:
    """How many entities, relationships, communities, reports and claims a version has."""
    found = row(
        """SELECT (SELECT count(*) FROM entities WHERE version = :v) AS entities,
                  (SELECT count(*) FROM relationships WHERE version = :v) AS relationships,
                  (SELECT count(*) FROM communities WHERE version = :v) AS communities,
                  (SELECT count(*) FROM community_reports WHERE version = :v) AS reports,
                  (SELECT count(*) FROM covariates WHERE version = :v) AS claims""",
        v=version,
    )
    assert found is not None
    return {key: int(value) for key, value in found.items()}


def entities(version: int, limit: int = 100, offset: int = 0, search: str | None = None) -> list[Entity]:
    """A version's entities, best connected first; `search` matches titles and descriptions."""
    found = rows(
        f"""SELECT {ENTITY} FROM entities WHERE version = :v
            AND (CAST(:search AS text) IS NULL OR title ILIKE :search OR description ILIKE :search)
            ORDER BY degree DESC, frequency DESC, title LIMIT :limit OFFSET :offset""",
        v=version,
        search=None if search is None else "%" + search.replace("%", r"\%").replace("_", r"\_") + "%",
        limit=limit,
        offset=offset,
    )
    return [entity_of(entity) for entity in found]


def entities_by_number(version: int) -> list[Entity]:
    """All of a version's entities in their own order."""
    return [entity_of(e) for e in rows(f"SELECT {ENTITY} FROM entities WHERE version = :v ORDER BY number", v=version)]


def relationships(version: int, limit: int = 100, offset: int = 0) -> list[Relationship]:
    """A version's relationships, heaviest first."""
    found = rows(
        f"""SELECT {_RELATIONSHIP} FROM relationships WHERE version = :v
            ORDER BY weight DESC, number LIMIT :limit OFFSET :offset""",
        v=version,
        limit=limit,
        offset=offset,
    )
    return [_relationship(relationship) for relationship in found]


def relationships_by_number(version: int) -> list[Relationship]:
    """All of a version's relationships in their own order."""
    found = rows(f"SELECT {_RELATIONSHIP} FROM relationships WHERE version = :v ORDER BY number", v=version)
    return [_relationship(relationship) for relationship in found]


def relationships_of(version: int, titles: Sequence[str], limit: int = 1000) -> list[Relationship]:
    """The relationships that touch any of these entities, best connected first."""
    found = rows(
        f"""SELECT {_RELATIONSHIP} FROM relationships WHERE version = :v AND (source = ANY(:t) OR target = ANY(:t))
            ORDER BY combined_degree DESC, number LIMIT :limit""",
        v=version,
        t=list(titles),
        limit=limit,
    )
    return [_relationship(relationship) for relationship in found]


def communities(version: int, level: int | None = None, limit: int = 100, offset: int = 0) -> list[Community]:
    """A version's communities (of one level, or all), by level and number."""
    found = rows(
        f"""SELECT {_COMMUNITY} FROM communities WHERE version = :v AND (CAST(:level AS int) IS NULL OR level = :level)
            ORDER BY level, number LIMIT :limit OFFSET :offset""",
        v=version,
        level=level,
        limit=limit,
        offset=offset,
    )
    return [_community(community) for community in found]


def communities_of(version: int, entity_ids: Sequence[str]) -> list[Community]:
    """The communities that hold any of these entities."""
    found = rows(
        f"SELECT {_COMMUNITY} FROM communities WHERE version = :v AND entity_ids && :ids ORDER BY level, number",
        v=version,
        ids=list(entity_ids),
    )
    return [_community(community) for community in found]


def reports(version: int, level: int | None = None, limit: int = 100, offset: int = 0) -> list[CommunityReport]:
    """A version's community reports (of one level, or all), highest rank first."""
    found = rows(
        f"""SELECT {_REPORT} FROM community_reports WHERE version = :v
            AND (CAST(:level AS int) IS NULL OR level = :level)
            ORDER BY rank DESC, community LIMIT :limit OFFSET :offset""",
        v=version,
        level=level,
        limit=limit,
        offset=offset,
    )
    return [_report(report) for report in found]


def reports_of(version: int, numbers: Sequence[int]) -> list[CommunityReport]:
    """The reports of these communities."""
    found = rows(
        f"""SELECT {_REPORT} FROM community_reports WHERE version = :v AND community = ANY(:n)
            ORDER BY rank DESC, community""",
        v=version,
        n=list(numbers),
    )
    return [_report(report) for report in found]


def report(version: int, community: int) -> CommunityReport:
    """One community's report; raises NotFoundError."""
    found = reports_of(version, [community])
    if not found:
        raise NotFoundError(f"index version {version} has no report of community {community}")
    return found[0]


def numbers(version: int) -> dict[str, int]:
    """The numbers that the entities and relationships of a version's collection were ever given, by id."""
    found = rows(
        """SELECT n.id, n.number FROM graph_numbers n JOIN index_runs r ON r.collection_id = n.collection_id
           WHERE r.id = :v""",
        v=version,
    )
    return {given["id"]: given["number"] for given in found}


def save_numbers(version: int, given: Mapping[str, int]) -> None:
    """Keep the numbers of entities and relationships for all later versions of the collection."""
    execute(
        """INSERT INTO graph_numbers (collection_id, id, number)
           SELECT (SELECT collection_id FROM index_runs WHERE id = :v), id, number
           FROM jsonb_to_recordset(CAST(:given AS jsonb)) AS g(id text, number int)
           ON CONFLICT DO NOTHING""",
        v=version,
        given=as_json([{"id": key, "number": number} for key, number in given.items()]),
    )


def save_entities_and_relationships(
    version: int, entities_: Iterable[Entity], relationships_: Iterable[Relationship]
) -> None:
    """Write a version's nodes and edges, replacing what an interrupted try left."""
    with transaction() as connection:
        run(connection, "DELETE FROM entities WHERE version = :v", v=version)
        run(connection, "DELETE FROM relationships WHERE version = :v", v=version)
        run(
            connection,
            """INSERT INTO entities (version, id, number, title, type, description, text_unit_ids, frequency, degree,
                   descriptions)
               SELECT :v, id, number, title, type, description, text_unit_ids, frequency, degree, descriptions
               FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS e(id text, number int, title text, type text,
                   description text, text_unit_ids text[], frequency int, degree int, descriptions text[])""",
            v=version,
            it=as_json(
                [
                    {
                        "id": e.id,
                        "number": e.human_readable_id,
                        "title": e.title,
                        "type": e.type,
                        "description": e.description,
                        "text_unit_ids": e.text_unit_ids,
                        "frequency": e.frequency,
                        "degree": e.degree,
                        "descriptions": e.descriptions,
                    }
                    for e in entities_
                ]
            ),
        )
        run(
            connection,
            """INSERT INTO relationships
                   (version, id, number, source, target, description, weight, combined_degree, text_unit_ids,
                    descriptions)
               SELECT :v, id, number, source, target, description, weight, combined_degree, text_unit_ids, descriptions
               FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS r(id text, number int, source text, target text,
                   description text, weight double precision, combined_degree int, text_unit_ids text[],
                   descriptions text[])""",
            v=version,
            it=as_json(
                [
                    {
                        "id": r.id,
                        "number": r.human_readable_id,
                        "source": r.source,
                        "target": r.target,
                        "description": r.description,
                        "weight": r.weight,
                        "combined_degree": r.combined_degree,
                        "text_unit_ids": r.text_unit_ids,
                        "descriptions": r.descriptions,
                    }
                    for r in relationships_
                ]
            ),
        )


def save_communities(version: int, communities_: Iterable[Community]) -> None:
    """Write a version's communities, replacing what an interrupted try left."""
    with transaction() as connection:
        run(connection, "DELETE FROM communities WHERE version = :v", v=version)
        run(
            connection,
            """INSERT INTO communities (version, number, id, level, parent, children, entity_ids, relationship_ids,
                   text_unit_ids, title)
               SELECT :v, number, id, level, parent, children, entity_ids, relationship_ids, text_unit_ids, title
               FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS c(number int, id text, level int, parent int,
                   children int[], entity_ids text[], relationship_ids text[], text_unit_ids text[], title text)""",
            v=version,
            it=as_json(
                [
                    {
                        "number": c.number,
                        "id": c.id,
                        "level": c.level,
                        "parent": c.parent,
                        "children": c.children,
                        "entity_ids": c.entity_ids,
                        "relationship_ids": c.relationship_ids,
                        "text_unit_ids": c.text_unit_ids,
                        "title": c.title,
                    }
                    for c in communities_
                ]
            ),
        )


def save_reports(version: int, reports_: Iterable[CommunityReport]) -> None:
    """Write a version's community reports, replacing what an interrupted try left."""
    with transaction() as connection:
        run(connection, "DELETE FROM community_reports WHERE version = :v", v=version)
        run(
            connection,
            """INSERT INTO community_reports
                   (version, community, id, level, title, summary, full_content, rank, rank_explanation, findings)
               SELECT :v, community, id, level, title, summary, full_content, rank, rank_explanation, findings
               FROM jsonb_to_recordset(CAST(:it AS jsonb)) AS r(community int, id text, level int, title text,
                   summary text, full_content text, rank double precision, rank_explanation text, findings jsonb)""",
            v=version,
            it=as_json(
                [
                    {
                        "community": r.community,
                        "id": r.id,
                        "level": r.level,
                        "title": r.title,
                        "summary": r.summary,
                        "full_content": r.full_content,
                        "rank": r.rank,
                        "rank_explanation": r.rank_explanation,
                        "findings": [{"summary": f.summary, "explanation": f.explanation} for f in r.findings],
                    }
                    for r in reports_
                ]
            ),
        )


def texts_to_embed(version: int, table: str, ids: Sequence[str]) -> dict[str, str]:
    """What is embedded of a version's `entities` (title:description, as in GraphRAG) or `community_reports`, by id.

    Of a report that is title and summary: its whole content is longer than what small embedding models read.
    """
    text = {"entities": "title || ':' || description", "community_reports": "title || ':' || summary"}[table]
    found = rows(
        f"SELECT id, {text} AS text FROM {table} WHERE version = :v AND id = ANY(:ids) ORDER BY id",
        v=version,
        ids=list(ids),
    )
    return {item["id"]: item["text"] for item in found}


def save_embeddings(version: int, table: str, vectors: Mapping[str, Vector]) -> None:
    """Store vectors of a version's `entities` or `community_reports` by id."""
    if table not in ("entities", "community_reports"):
        raise ValueError(f"{table} carries no embeddings of a version")
    with transaction() as connection:
        run(
            connection,
            f"""UPDATE {table} t SET embedding = CAST(v.embedding AS vector)
                FROM jsonb_to_recordset(CAST(:vectors AS jsonb)) AS v(id text, embedding text)
                WHERE t.version = :version AND t.id = v.id""",
            version=version,
            vectors=as_json([{"id": key, "embedding": as_vector(vectors[key])} for key in sorted(vectors)]),
        )


def entity_of(found: Mapping[str, Any]) -> Entity:
    """An entity from a row with the columns ENTITY."""
    lists = ("text_unit_ids", "descriptions")
    return Entity(**{**found, **{name: tuple(found[name]) for name in lists}})


def _relationship(found: Mapping[str, Any]) -> Relationship:
    lists = ("text_unit_ids", "descriptions")
    return Relationship(**{**found, **{name: tuple(found[name]) for name in lists}})


def _community(found: Mapping[str, Any]) -> Community:
    lists = ("children", "entity_ids", "relationship_ids", "text_unit_ids")
    return Community(**{**found, **{name: tuple(found[name]) for name in lists}})


def _report(found: Mapping[str, Any]) -> CommunityReport:
    return CommunityReport(**{**found, "findings": tuple(Finding(**finding) for finding in found["findings"])})
