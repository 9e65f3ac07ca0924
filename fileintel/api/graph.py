"""Routes of a collection's graph: what the published index version holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query

from fileintel.api import problems, shapes
from fileintel.api.access import ReadCollection, WriteCollection
from fileintel.api.collections import Offset
from fileintel.errors import ConflictError
from fileintel.model import Collection, Community, CommunityReport, Entity, IndexVersion, Relationship
from fileintel.store import community, documents, versions
from fileintel.store import graph as store

router = APIRouter(tags=["graph"], responses=problems.documented(401, 403, 404, 422, 503))
Limit = Annotated[int, Query(ge=1, le=1000, description="the most items to return")]
Level = Annotated[int | None, Query(ge=0, le=100, description="one level of the hierarchy; 0 is the coarsest")]
Search = Annotated[
    shapes.Text | None, Query(max_length=200, description="words an entity's title holds", examples=["nordhafen"])
]

_ENTITY = {
    "id": "e1",
    "human_readable_id": 0,
    "title": "NORDHAFEN AG",
    "type": "ORGANIZATION",
    "description": "Operator of the eastern quay",
    "text_unit_ids": ["7d86…"],
    "frequency": 4,
    "degree": 3,
}
_RELATIONSHIP = {
    "id": "r1",
    "human_readable_id": 0,
    "source": "INES BRANDT",
    "target": "NORDHAFEN AG",
    "description": "Ines Brandt signed the contract with Nordhafen AG",
    "weight": 8.0,
    "combined_degree": 5,
    "text_unit_ids": ["7d86…"],
}
_COMMUNITY = {
    "id": "c1",
    "number": 0,
    "level": 0,
    "parent": -1,
    "children": [4, 5],
    "entity_ids": ["e1"],
    "relationship_ids": ["r1"],
    "text_unit_ids": ["7d86…"],
    "title": "The eastern quay",
}
_VERSION = {
    "version": 7,
    "created_at": "2026-05-04T08:15:30Z",
    "finished_at": "2026-05-04T08:17:02Z",
    "chat_model": "fileintel-extractive",
    "embedding_model": "all-MiniLM-L6-v2-int8",
    "published": True,
    "entities": 212,
    "relationships": 431,
    "communities": 24,
    "reports": 24,
    "method": "standard",
    "claims": 0,
}
_REPORT = {
    "id": "cr1",
    "community": 0,
    "level": 0,
    "title": "The eastern quay",
    "summary": "Nordhafen AG runs the eastern quay under a contract signed in 2021.",
    "full_content": "# The eastern quay …",
    "rank": 7.5,
    "rank_explanation": "It binds most of the harbour's income.",
    "findings": [{"summary": "One contract", "explanation": "Ines Brandt signed it on 3 May 2021."}],
}


def published_version(collection: Collection) -> int:
    """Return the version questions are answered from; raises ConflictError, with the cure, before the first."""
    if collection.published_version is None:
        raise ConflictError(
            f"the collection {collection.name!r} has no graph yet: build it with "
            f"`fileintel graphrag index {collection.name}`"
        )
    return collection.published_version


@router.get(
    "/collections/{collection}/graph",
    responses=shapes.example(200, {"version": 7, "counts": {"entities": 212, "communities": 24}}, "The graph"),
)
def show_graph(collection: ReadCollection) -> shapes.Graph:
    """Show the published index version and how many entities, relationships, communities and reports it holds."""
    version = collection.published_version
    return shapes.Graph(
        version=version,
        counts={} if version is None else store.counts(version),
        changed_since=version is not None and versions.changed_since(version),
        documents_failed=documents.states(collection.id).get("failed", 0),
    )


@router.get(
    "/collections/{collection}/entities",
    responses=shapes.page_example(_ENTITY, "Entities") | problems.documented(409),
)
def list_entities(
    collection: ReadCollection, search: Search = None, limit: Limit = 50, offset: Offset = 0
) -> shapes.Page[Entity]:
    """List the graph's entities."""
    found = store.entities(published_version(collection), limit=limit + 1, offset=offset, search=search)
    return shapes.page(found, limit, offset)


@router.get(
    "/collections/{collection}/relationships",
    responses=shapes.page_example(_RELATIONSHIP, "Relationships") | problems.documented(409),
)
def list_relationships(collection: ReadCollection, limit: Limit = 50, offset: Offset = 0) -> shapes.Page[Relationship]:
    """List the graph's relationships."""
    found = store.relationships(published_version(collection), limit=limit + 1, offset=offset)
    return shapes.page(found, limit, offset)


@router.get(
    "/collections/{collection}/communities",
    responses=shapes.page_example(_COMMUNITY, "Communities") | problems.documented(409),
)
def list_communities(
    collection: ReadCollection, level: Level = None, limit: Limit = 50, offset: Offset = 0
) -> shapes.Page[Community]:
    """List the graph's communities, titled by their reports."""
    version = published_version(collection)
    found = store.communities(version, level=level, limit=limit + 1, offset=offset)
    titles = store.report_titles(version, [community.number for community in found])
    titled = [replace(community, title=titles.get(community.number, community.title)) for community in found]
    return shapes.page(titled, limit, offset)


@router.get(
    "/collections/{collection}/communities/{number}",
    responses=shapes.example(
        200,
        {
            "community": _COMMUNITY,
            "report": _REPORT,
            "entities": [_ENTITY],
            "relationships": [_RELATIONSHIP],
            "parent": None,
            "children": [{"number": 4, "level": 1, "title": "The crane drivers", "size": 6}],
        },
        "The community",
    )
    | problems.documented(409),
)
def show_community(
    collection: ReadCollection,
    number: Annotated[int, Path(ge=0, lt=2**31, description="the community's number", examples=[0])],
) -> community.Family:
    """Show a community: its report, members, relationships, parent and children."""
    return community.show(published_version(collection), number)


@router.get(
    "/collections/{collection}/reports",
    responses=shapes.page_example(_REPORT, "Community reports") | problems.documented(409),
)
def list_reports(
    collection: ReadCollection, level: Level = None, limit: Limit = 50, offset: Offset = 0
) -> shapes.Page[CommunityReport]:
    """List the graph's community reports."""
    found = store.reports(published_version(collection), level=level, limit=limit + 1, offset=offset)
    return shapes.page(found, limit, offset)


@router.get(
    "/collections/{collection}/versions",
    responses=shapes.page_example(_VERSION, "The versions questions can be answered from, newest first"),
)
def list_versions(collection: ReadCollection) -> shapes.Page[IndexVersion]:
    """List a collection's complete index versions."""
    found = versions.list_for(collection.id)
    return shapes.page(found, max(len(found), 1), 0)


@router.post(
    "/collections/{collection}/versions/{version}/publish",
    responses=shapes.page_example(_VERSION, "The versions as they are now") | problems.documented(409),
)
def publish_version(
    collection: WriteCollection,
    version: Annotated[int, Path(ge=1, lt=2**31, description="a complete version's number", examples=[7])],
) -> shapes.Page[IndexVersion]:
    """Answer questions from this complete version from now on: back to an earlier one, or forth again."""
    versions.roll_back(collection.id, version)
    found = versions.list_for(collection.id)
    return shapes.page(found, max(len(found), 1), 0)
