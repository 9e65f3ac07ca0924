"""Routes of collections."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from fileintel.api import problems, shapes
from fileintel.api.access import ReadCollection, Reader, WriteCollection, Writer, reaches
from fileintel.errors import NotAllowedError
from fileintel.model import Collection
from fileintel.store import collections as store

router = APIRouter(tags=["collections"], responses=problems.documented(401, 403, 422, 503))
Limit = Annotated[int, Query(ge=1, le=1000, description="the most items to return")]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="how many items to pass over")]


@router.get("/collections", responses=shapes.page_example(shapes.COLLECTION, "Collections by name"))
def list_collections(key: Reader, limit: Limit = 100, offset: Offset = 0) -> shapes.Page[Collection]:
    """List the collections the key reaches."""
    granted = [collection for collection in store.list_all() if reaches(key, collection.id)]
    return shapes.page(granted[offset : offset + limit + 1], limit, offset)


@router.post(
    "/collections",
    status_code=201,
    responses=shapes.example(201, {**shapes.COLLECTION, "published_version": None, "documents": 0}, "Made")
    | problems.documented(409),
)
def create_collection(key: Writer, wanted: shapes.NewCollection, response: Response) -> Collection:
    """Make a collection."""
    if key.collections is not None:
        raise NotAllowedError(f"the API key {key.name!r} is limited to some collections and cannot make others")
    made = store.create(wanted.name, wanted.description)
    response.headers["Location"] = f"/api/v2/collections/{made.id}"
    return made


@router.get(
    "/collections/{collection}",
    responses=shapes.example(200, shapes.COLLECTION, "The collection") | problems.documented(404),
)
def show_collection(collection: ReadCollection) -> Collection:
    """Show a collection."""
    return collection


@router.delete("/collections/{collection}", status_code=204, responses=problems.documented(404, 409))
def delete_collection(collection: WriteCollection) -> None:
    """Remove a collection with its documents, its graph and the questions put to it."""
    store.delete(collection.id)
