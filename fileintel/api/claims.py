"""The route of a collection's claims: what the published index version says that somebody did."""

from __future__ import annotations

from fastapi import APIRouter

from fileintel.api import problems, shapes
from fileintel.api.access import ReadCollection
from fileintel.api.collections import Offset
from fileintel.api.graph import Limit, Search, published_version
from fileintel.model import Claim, Source
from fileintel.store import covariates, retrieval

router = APIRouter(tags=["graph"], responses=problems.documented(401, 403, 404, 422, 503))

_CLAIM = {
    "claim": {
        "id": "cl1",
        "human_readable_id": 0,
        "text_unit_id": "7d86…",
        "subject": "NORDHAFEN AG",
        "object": "HARBOUR BOARD",
        "type": "BREACH OF CONTRACT",
        "status": "SUSPECTED",
        "start_date": "2021-05-03T00:00:00",
        "end_date": "NONE",
        "description": "Nordhafen AG is said to have kept the quay closed against the contract",
        "source_text": "The board suspects that Nordhafen kept the quay closed.",
    },
    "document_id": "5f6c…",
    "document_name": "minutes-2021.pdf",
    "page": 12,
    "heading": "Item 4 > Contracts",
}


@router.get(
    "/collections/{collection}/claims",
    responses=shapes.page_example(_CLAIM, "Claims") | problems.documented(409),
)
def list_claims(
    collection: ReadCollection, search: Search = None, limit: Limit = 50, offset: Offset = 0
) -> shapes.Page[shapes.LocatedClaim]:
    """List the graph's claims, each with the place in a document where it is made; `search` reads both parties."""
    found = covariates.claims(published_version(collection), limit=limit + 1, offset=offset, search=search)
    units = {
        unit.text_unit_id: unit
        for unit in retrieval.units(collection.id, list(dict.fromkeys(claim.text_unit_id for claim in found)))
    }
    # A document may have been deleted between the two reads.
    shown = [located(claim, units[claim.text_unit_id]) for claim in found[:limit] if claim.text_unit_id in units]
    return shapes.Page(items=shown, next_offset=offset + limit if len(found) > limit else None)


def located(claim: Claim, unit: Source) -> shapes.LocatedClaim:
    """Return the claim with the place its quote stands at, else with the text unit's first."""
    at = max(unit.text.find(claim.source_text.strip(' "')), 0) if claim.source_text else 0
    before = [anchor for anchor in unit.anchors if anchor.offset <= at] or list(unit.anchors[:1])
    place = before[-1] if before else None
    return shapes.LocatedClaim(
        claim=claim,
        document_id=unit.document_id,
        document_name=unit.document_name,
        page=None if place is None else place.page,
        heading=None if place is None else place.heading,
    )
