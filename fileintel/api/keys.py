"""Routes of API keys; for admin keys that reach every collection."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from fileintel.api import problems, shapes
from fileintel.api.access import Admin, collection_for
from fileintel.api.collections import Limit, Offset
from fileintel.errors import ConflictError, InputError
from fileintel.model import ApiKey
from fileintel.store import keys as store

router = APIRouter(tags=["keys"], responses=problems.documented(401, 403, 422, 503))


@router.get("/keys", responses=shapes.page_example(shapes.KEY, "Keys, without their secrets"))
def list_keys(key: Admin, limit: Limit = 100, offset: Offset = 0) -> shapes.Page[ApiKey]:
    """List the API keys, revoked ones too."""
    return shapes.page(store.list_all()[offset : offset + limit + 1], limit, offset)


@router.post(
    "/keys",
    status_code=201,
    responses=shapes.example(201, {"key": shapes.KEY, "secret": "fi_4vGm…"}, "The key and, this once, its secret")
    | problems.documented(404),
)
def create_key(key: Admin, wanted: shapes.NewKey, response: Response) -> shapes.CreatedKey:
    """Make an API key."""
    if not wanted.name.strip():
        raise InputError("a key needs a name that says what it is for")
    granted = None if wanted.collections is None else [collection_for(key, name).id for name in wanted.collections]
    made, secret = store.create(wanted.name.strip(), wanted.scopes, granted)
    response.headers["Cache-Control"] = "no-store"
    return shapes.CreatedKey(key=made, secret=secret)


@router.delete("/keys/{id}", status_code=204, responses=problems.documented(404, 409))
def revoke_key(key: Admin, key_id: Annotated[str, Path(alias="id", max_length=200)]) -> None:
    """End a key for good."""
    if key_id == key.id:
        raise ConflictError("this request carries that very key: revoke it with another admin key")
    store.revoke(key_id)
