"""Reading the graph of an index version: entities, relationships, communities, community reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fileintel.errors import NotFoundError
from fileintel.model import Community, CommunityReport, Edge, Entity, Finding, Relationship
from fileintel.store.engine import row, rows

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
    """A version's entities, best connected first; `search` matches titles, which come first, and descriptions."""
    found = rows(
        f"""SELECT {ENTITY} FROM entities WHERE version = :v
            AND (CAST(:search AS text) IS NULL OR title ILIKE :search OR description ILIKE :search)
            ORDER BY title ILIKE :search IS NOT TRUE, degree DESC, frequency DESC, title LIMIT :limit OFFSET :offset""",
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


def report_titles(version: int, numbers: Sequence[int]) -> dict[int, str]:
    """The titles of these communities' reports, by community number; one without a report is left out."""
    if not numbers:
        return {}
    found = rows(
        "SELECT community, title FROM community_reports WHERE version = :v AND community = ANY(:n)",
        v=version,
        n=list(numbers),
    )
    return {report["community"]: report["title"] for report in found}


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


def edges(version: int) -> list[Edge]:
    """A version's relationships as clustering sees them, in their own order."""
    found = rows("SELECT id, source, target, weight FROM relationships WHERE version = :v ORDER BY number", v=version)
    return [Edge(*edge.values()) for edge in found]


def entities_with(version: int, ids: Sequence[str]) -> list[Entity]:
    """The version's entities of these ids, in their own order."""
    found = rows(
        f"SELECT {ENTITY} FROM entities WHERE version = :v AND id = ANY(:ids) ORDER BY number", v=version, ids=list(ids)
    )
    return [entity_of(entity) for entity in found]


def relationships_with(version: int, ids: Sequence[str]) -> list[Relationship]:
    """The version's relationships of these ids, in their own order."""
    found = rows(
        f"SELECT {_RELATIONSHIP} FROM relationships WHERE version = :v AND id = ANY(:ids) ORDER BY number",
        v=version,
        ids=list(ids),
    )
    return [_relationship(relationship) for relationship in found]


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
