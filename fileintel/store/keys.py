"""API keys: only a hash of the secret is kept."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fileintel.errors import InputError, NotFoundError
from fileintel.model import ApiKey, Scope
from fileintel.store.engine import execute, row, rows

_SELECT = "SELECT id, name, scopes, collections, created_at, revoked_at FROM api_keys "
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")


def create(name: str, scopes: Sequence[Scope], collections: Sequence[str] | None = None) -> tuple[ApiKey, str]:
    """Make a key; the second value is its secret, which is told this once and never again."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InputError(f"a key's scopes are of {', '.join(SCOPES)}, not '{', '.join(unknown)}'")
    secret = "fi_" + secrets.token_urlsafe(32)
    key_id = str(uuid.uuid4())
    execute(
        """INSERT INTO api_keys (id, name, secret_hash, scopes, collections)
           VALUES (:id, :name, :hash, :scopes, :collections)""",
        id=key_id,
        name=name,
        hash=_hash(secret),
        scopes=list(scopes),
        collections=None if collections is None else list(collections),
    )
    found = row(_SELECT + "WHERE id = :id", id=key_id)
    assert found is not None
    return _key(found), secret


def authenticate(secret: str) -> ApiKey | None:
    """The key whose secret this is, or None when it is unknown or revoked.

    The secret has 256 random bits, so a plain SHA-256 is a safe index to it.
    """
    found = row(_SELECT + "WHERE secret_hash = :hash AND revoked_at IS NULL", hash=_hash(secret))
    return None if found is None else _key(found)


def list_all() -> list[ApiKey]:
    """All keys, revoked ones included, oldest first."""
    return [_key(found) for found in rows(_SELECT + "ORDER BY created_at, id")]


def revoke(key_id: str) -> None:
    """End a key for good; raises NotFoundError."""
    if execute("UPDATE api_keys SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL", id=key_id) == 0:
        raise NotFoundError(f"there is no live key '{key_id[:80]}'")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(found: Mapping[str, Any]) -> ApiKey:
    values = dict(found)
    values["scopes"] = tuple(values["scopes"])
    values["collections"] = None if values["collections"] is None else tuple(values["collections"])
    return ApiKey(**values)
