"""Who may do what: API keys, their scopes, and the collections they reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Path, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from fileintel.errors import NotAllowedError, NotAuthenticatedError, NotFoundError
from fileintel.model import ApiKey, Collection, Scope
from fileintel.store import collections as collection_store
from fileintel.store import keys as key_store

_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="`Authorization: Bearer <API key>`")
_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="header", description="The same key in `X-API-Key`."
)


def caller(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    header: Annotated[str | None, Security(_header)],
) -> ApiKey:
    """Return the key the request carries; raises NotAuthenticatedError."""
    secret = bearer.credentials if bearer is not None else header
    if not secret:
        raise NotAuthenticatedError("this needs an API key: send it as `Authorization: Bearer …` or `X-API-Key`")
    key = key_store.authenticate(secret)
    if key is None:
        raise NotAuthenticatedError("the API key is unknown or revoked")
    return key


def _holding(scope: Scope) -> Callable[[ApiKey], ApiKey]:
    def check(key: Annotated[ApiKey, Depends(caller)]) -> ApiKey:
        if not key.allows(scope):
            raise NotAllowedError(f"the API key {key.name!r} lacks the scope {scope!r}")
        return key

    return check


Reader = Annotated[ApiKey, Depends(_holding("read"))]
Writer = Annotated[ApiKey, Depends(_holding("write"))]


def _unlimited_admin(key: Annotated[ApiKey, Depends(_holding("admin"))]) -> ApiKey:
    # A key that reaches some collections only could otherwise make itself one that reaches all.
    if key.collections is not None:
        raise NotAllowedError(f"the API key {key.name!r} is limited to some collections and cannot manage keys")
    return key


Admin = Annotated[ApiKey, Depends(_unlimited_admin)]


def reaches(key: ApiKey, collection_id: str) -> bool:
    """Whether the key is granted the collection."""
    return key.collections is None or collection_id in key.collections


def collection_for(key: ApiKey, name_or_id: str) -> Collection:
    """Return the collection if the key reaches it; one that it doesn't looks as if it did not exist."""
    missing = NotFoundError(f"no collection is named {name_or_id!r}: list them, or create it first")
    try:
        collection = collection_store.get(name_or_id)
    except NotFoundError:
        raise missing from None
    if not reaches(key, collection.id):
        raise missing
    return collection


_CollectionPath = Annotated[
    str, Path(alias="collection", description="the collection's name or id", examples=["minutes"], max_length=200)
]


def _readable(key: Reader, name_or_id: _CollectionPath) -> Collection:
    return collection_for(key, name_or_id)


def _writable(key: Writer, name_or_id: _CollectionPath) -> Collection:
    return collection_for(key, name_or_id)


ReadCollection = Annotated[Collection, Depends(_readable)]
WriteCollection = Annotated[Collection, Depends(_writable)]
