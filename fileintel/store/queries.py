"""Questions and their answers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fileintel.errors import NotFoundError
from fileintel.model import Answer, Citation, Query, QueryMode
from fileintel.store.engine import as_json, execute, row, rows, run, transaction

_SELECT = """
    SELECT id, collection_id, question, mode, state, answer, error_code, error, created_at, finished_at,
        community_level, response_type, dynamic_selection
    FROM queries
"""


def create(
    collection_id: str,
    question: str,
    mode: QueryMode,
    *,
    community_level: int | None = None,
    response_type: str | None = None,
    dynamic_selection: bool = False,
) -> Query:
    """Enter a question."""
    query_id = str(uuid.uuid4())
    execute(
        """INSERT INTO queries (id, collection_id, question, mode, community_level, response_type, dynamic_selection)
           VALUES (:id, :collection, :question, :mode, :level, :response_type, :dynamic)""",
        id=query_id,
        collection=collection_id,
        question=question,
        mode=mode,
        level=community_level,
        response_type=response_type,
        dynamic=dynamic_selection,
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


def save_plan(
    query_id: str,
    worker: str,
    plan: Mapping[str, Any],
    *,
    course: Mapping[str, Any],
    calls: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Store what is to be asked for a question, and give it back for asking; False when another worker has it now.

    `calls` ({kind, about, request}) are the calls of this round, numbered from 0 in their order; `course` is kept as
    the first round decided it. Attempts count from here anew: they bound tries that get nowhere.
    """
    with transaction() as connection:
        found = run(
            connection,
            """UPDATE queries SET plan = CAST(:plan AS jsonb), course = COALESCE(course, CAST(:course AS jsonb)),
                   state = 'queued', attempts = 0, leased_by = NULL, rung_at = now()
               WHERE id = :id AND leased_by = :worker RETURNING round""",
            id=query_id,
            worker=worker,
            plan=as_json(dict(plan)),
            course=as_json(dict(course)),
        ).scalar_one_or_none()
        if found is None:
            return False
        if calls:
            run(
                connection,
                """INSERT INTO query_calls (query_id, round, number, kind, about, request)
                   SELECT :id, :round, number, kind, about, request
                   FROM jsonb_to_recordset(CAST(:calls AS jsonb))
                       AS c(number int, kind text, about jsonb, request jsonb)
                   ON CONFLICT DO NOTHING""",
                id=query_id,
                round=found,
                calls=as_json([{**call, "number": number} for number, call in enumerate(calls)]),
            )
    return True


def plan_again(query_id: str, worker: str) -> bool:
    """Give a question whose round of calls is answered back for planning the next; False as in save_plan."""
    return bool(
        execute(
            """UPDATE queries SET plan = NULL, round = round + 1, state = 'queued', attempts = 0, leased_by = NULL,
                   rung_at = now() WHERE id = :id AND leased_by = :worker""",
            id=query_id,
            worker=worker,
        )
    )


def course(query_id: str) -> dict[str, Any] | None:
    """What the first round decided for all of them, None before it."""
    found = row("SELECT course FROM queries WHERE id = :id", id=query_id)
    return None if found is None else found["course"]


def plan(query_id: str) -> dict[str, Any] | None:
    """The prompts of a question, None before they are made."""
    found = row("SELECT plan FROM queries WHERE id = :id", id=query_id)
    return None if found is None else found["plan"]


def is_planned(query_id: str) -> bool:
    """Whether the question's prompts are made."""
    return row("SELECT 1 FROM queries WHERE id = :id AND plan IS NOT NULL", id=query_id) is not None


def finish(query_id: str, answer: Answer) -> None:
    """Store a question's answer; its calls are needed no more."""
    with transaction() as connection:
        run(
            connection,
            """UPDATE queries SET state = 'complete', answer = CAST(:answer AS jsonb), leased_by = NULL, plan = NULL,
                   finished_at = now() WHERE id = :id""",
            id=query_id,
            answer=as_json(asdict(answer)),
        )
        run(connection, "DELETE FROM query_calls WHERE query_id = :id", id=query_id)


def fail(query_id: str, code: str, error: str) -> None:
    """Store why a question could not be answered."""
    with transaction() as connection:
        run(
            connection,
            """UPDATE queries SET state = 'failed', error_code = :code, error = :error, leased_by = NULL,
                   finished_at = now() WHERE id = :id""",
            id=query_id,
            code=code,
            error=error,
        )
        run(connection, "DELETE FROM query_calls WHERE query_id = :id", id=query_id)


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
