"""How an index is built: by which method, and whether with claims."""

from __future__ import annotations

from fileintel.errors import ConflictError, InputError
from fileintel.model import IndexMethod, IndexRun
from fileintel.store import runs
from fileintel.tasks import models


def choose(
    collection_id: str, chat_model: str, method: IndexMethod | None, claims: bool | None
) -> tuple[IndexMethod, bool]:
    """Settle a run's method and whether it extracts claims: what is None is as in the collection's last run.

    Before the first run that is standard, without claims, as in GraphRAG. Raises InputError for claims of a model
    that finds none.
    """
    last = runs.latest(collection_id)
    if method is None:
        method = "standard" if last is None else last.method
    if claims is None:
        # What nobody asked for this time must not stop a build whose model has changed since.
        claims = last is not None and last.claims and not models.staged(chat_model)
    elif claims and models.staged(chat_model):
        raise InputError(
            "the embedded extractive model finds no claims: name a language model by OPENAI_BASE_URL and "
            "FILEINTEL_CHAT_MODEL, or build without claims"
        )
    return method, claims


def refuse_another(run: IndexRun, method: IndexMethod | None, claims: bool | None) -> None:
    """Raise ConflictError when the running build that a request would join is not of the kind it asks for."""
    if method not in (None, run.method) or claims not in (None, run.claims):
        kind = run.method + (" with claims" if run.claims else " without claims")
        raise ConflictError(f"index run {run.id} ({kind}) is under way: wait for its end or cancel it, then ask again")
