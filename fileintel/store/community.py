"""One community of a version with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fileintel.errors import NotFoundError
from fileintel.model import Community, CommunityReport, Entity, Relationship
from fileintel.store import graph
from fileintel.store.engine import row, rows


@dataclass(frozen=True, slots=True)
class Family:
    """A community with its report, members and relationships, and the reports' titles of its parent and children."""

    community: Community
    report: CommunityReport | None
    entities: tuple[Entity, ...]
    relationships: tuple[Relationship, ...]
    parent: dict[str, Any] | None
    children: tuple[dict[str, Any], ...]


def show(version: int, number: int) -> Family:
    """The community of that number, its members best connected first; raises NotFoundError."""
    found = row(
        """SELECT id, number, level, parent, children, entity_ids, relationship_ids, text_unit_ids, title
           FROM communities WHERE version = :v AND number = :n""",
        v=version,
        n=number,
    )
    if found is None:
        raise NotFoundError(f"index version {version} has no community {number}: list its communities")
    lists = ("children", "entity_ids", "relationship_ids", "text_unit_ids")
    community = Community(**{**found, **{name: tuple(found[name]) for name in lists}})
    entities = graph.entities_with(version, community.entity_ids)
    relationships = graph.relationships_with(version, community.relationship_ids)
    reports = graph.reports_of(version, [number])
    return Family(
        community,
        reports[0] if reports else None,
        tuple(sorted(entities, key=lambda entity: (-entity.degree, entity.title))),
        tuple(sorted(relationships, key=lambda each: (-each.weight, each.human_readable_id))),
        next(iter(_named(version, [community.parent])), None),
        tuple(_named(version, community.children)),
    )


def _named(version: int, numbers: Sequence[int]) -> list[dict[str, Any]]:
    found = rows(
        """SELECT c.number, c.level, COALESCE(r.title, c.title) AS title, cardinality(c.entity_ids) AS size
           FROM communities c LEFT JOIN community_reports r ON r.version = c.version AND r.community = c.number
           WHERE c.version = :v AND c.number = ANY(:n) ORDER BY c.number""",
        v=version,
        n=list(numbers),
    )
    return [dict(each) for each in found]
