"""Questions and their answers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fileintel.errors import NotFoundError
from fileintel.model import Answer, Citation, Query, QueryMode
from fileintel.store.engine import as_json, execute, row, rows

_SELECT = """
    SELECT id, collection_id, question, mode, state, answer, error_code, error, created_at, finished_at FROM queries
"""


def create(collection_id: str, question: str, mode: QueryMode) -> Query:
    """Enter a question."""
    query_id = str(uuid.uuid4())
    execute(
        "INSERT INTO queries (id, collection_id, question, mode) VALUES (:id, :collection, :question, :mode)",
        id=query_id,
        collection=collection_id,
        question=question,
        mode=mode,
    )
    return get(query_id)


def get(query_id: str) -> Query:
    """The question of that id; raises NotFoundError."""
    found = row(_SELECT + "WHERE id = :id", id=query_id)
    if found is None:
        raise NotFoundError(f"there is no query '{query_id[:80]}'")
    return _query(found)


def unfinished() -> list[Query]:
    """All questions not answered yet."""
    return [_query(found) for found in rows(_SELECT + "WHERE state IN ('queued', 'answering') ORDER BY created_at")]


def claim(query_id: str, worker: str, *, planned: bool) -> Query | None:
    """Lease a queued question with (or without) a plan to a worker; None when there is nothing to do."""
    touched = execute(
        """UPDATE queries SET state = 'answering', leased_by = :worker, attempts = attempts + 1
           WHERE id = :id AND state = 'queued' AND (plan IS NOT NULL) = :planned""",
        id=query_id,
        worker=worker,
        planned=planned,
    )
    return get(query_id) if touched else None


def save_plan(query_id: str, worker: str, plan: Mapping[str, Any]) -> None:
    """Store the prompts of a question and give it back for answering."""
    execute(
        """UPDATE queries SET plan = CAST(:plan AS jsonb), state = 'queued', leased_by = NULL, rung_at = now()
           WHERE id = :id AND leased_by = :worker""",
        id=query_id,
        worker=worker,
        plan=as_json(dict(plan)),
    )


def plan(query_id: str) -> dict[str, Any] | None:
    """The prompts of a question, None before they are made."""
    found = row("SELECT plan FROM queries WHERE id = :id", id=query_id)
    return None if found is None else found["plan"]


def is_planned(query_id: str) -> bool:
    """Whether the question's prompts are made."""
    return row("SELECT 1 FROM queries WHERE id = :id AND plan IS NOT NULL", id=query_id) is not None


def finish(query_id: str, answer: Answer) -> None:
    """Store a question's answer."""
    execute(
        """UPDATE queries SET state = 'complete', answer = CAST(:answer AS jsonb), leased_by = NULL, plan = NULL,
               finished_at = now() WHERE id = :id""",
        id=query_id,
        answer=as_json(asdict(answer)),
    )


def fail(query_id: str, code: str, error: str) -> None:
    """Store why a question could not be answered."""
    execute(
        """UPDATE queries SET state = 'failed', error_code = :code, error = :error, leased_by = NULL,
               finished_at = now() WHERE id = :id""",
        id=query_id,
        code=code,
        error=error,
    )


def release(query_id: str) -> None:
    """Give a leased question back to the queue."""
    execute("UPDATE queries SET state = 'queued', leased_by = NULL WHERE id = :id AND state = 'answering'", id=query_id)


def _query(found: Mapping[str, Any]) -> Query:
    values = dict(found)
    if values["answer"] is not None:
        answer = dict(values["answer"])
        answer["citations"] = tuple(Citation(**citation) for citation in answer["citations"])
        values["answer"] = Answer(**answer)
    return Query(**values)
