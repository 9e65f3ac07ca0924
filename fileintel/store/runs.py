"""Index runs: one at a time per collection; a run's id is the index version it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError

from fileintel.errors import ConflictError, NotFoundError
from fileintel.model import IndexRun, StepProgress
from fileintel.store import index_steps
from fileintel.store.engine import as_json, execute, row, rows, run, transaction

_SELECT = """
    SELECT r.id, r.collection_id, r.state, r.step, r.created_at, r.finished_at, r.error, r.error_code, r.chat_model,
           r.embedding_model, COALESCE(s.calls, 0)::bigint AS calls,
           COALESCE(s.calls_remembered, 0)::bigint AS calls_remembered,
           COALESCE(s.tokens_in, 0)::bigint AS tokens_in, COALESCE(s.tokens_out, 0)::bigint AS tokens_out,
           COALESCE(r.parameters->>'method', 'standard') AS method,
           COALESCE((r.parameters->>'claims')::boolean, false) AS claims
    FROM index_runs r
    LEFT JOIN LATERAL (
        SELECT sum(calls) AS calls, sum(calls_remembered) AS calls_remembered, sum(tokens_in) AS tokens_in,
               sum(tokens_out) AS tokens_out
        FROM work_items w WHERE w.run_id = r.id
    ) s ON true
"""


def start(
    collection_id: str,
    *,
    steps: Sequence[tuple[str, Sequence[str]]],
    chat_model: str,
    embedding_model: str,
    parameters: Mapping[str, Any],
) -> tuple[IndexRun, bool]:
    """Begin a run, or join the one that is running; the second value says whether it is new.

    `steps` are (name, the names it comes after) in order. The run's base is the version published now: unaffected
    communities are taken over from it.
    """
    with transaction() as connection:
        new = run(
            connection,
            """INSERT INTO index_runs (collection_id, step, chat_model, embedding_model, parameters)
               SELECT :collection, :step, :chat_model, :embedding_model,
                   CAST(:parameters AS jsonb) || jsonb_build_object('base_version', published_version)
               FROM collections WHERE id = :collection
               ON CONFLICT (collection_id) WHERE state = 'running' DO NOTHING RETURNING id""",
            collection=collection_id,
            step=steps[0][0],
            chat_model=chat_model,
            embedding_model=embedding_model,
            parameters=as_json(dict(parameters)),
        ).scalar_one_or_none()
        if new is not None:
            index_steps.enter(connection, new, steps)
        found = run(
            connection,
            "SELECT id FROM index_runs WHERE collection_id = :collection AND (id = :new OR state = 'running')",
            collection=collection_id,
            new=new,
        ).scalars()
        run_id = found.first()
    if run_id is None:
        raise ConflictError("the running build of this collection just ended: ask again")
    return get(run_id), new is not None


def get(run_id: int) -> IndexRun:
    """The run of that id; raises NotFoundError."""
    found = row(_SELECT + "WHERE r.id = :id", id=run_id)
    if found is None:
        raise NotFoundError(f"there is no index run {run_id}")
    return IndexRun(**found)


def latest(collection_id: str) -> IndexRun | None:
    """A collection's newest run, or None."""
    found = row(_SELECT + "WHERE r.collection_id = :c ORDER BY r.id DESC LIMIT 1", c=collection_id)
    return None if found is None else IndexRun(**found)


def list_for(collection_id: str, *, limit: int | None = None, offset: int = 0) -> list[IndexRun]:
    """A collection's runs, newest first; up to `limit` of them from `offset` on."""
    found = rows(
        _SELECT + "WHERE r.collection_id = :c ORDER BY r.id DESC LIMIT CAST(:limit AS bigint) OFFSET :offset",
        c=collection_id,
        limit=limit,
        offset=offset,
    )
    return [IndexRun(**each) for each in found]


def running() -> list[IndexRun]:
    """All runs under way."""
    return [IndexRun(**found) for found in rows(_SELECT + "WHERE r.state = 'running' ORDER BY r.id")]


def parameters(run_id: int) -> dict[str, Any]:
    """What the run was started with."""
    found = row("SELECT parameters FROM index_runs WHERE id = :id", id=run_id)
    if found is None:
        raise NotFoundError(f"there is no index run {run_id}")
    return dict(found["parameters"])


def progress(run_id: int) -> list[StepProgress]:
    """How many items of each step begun are pending, leased, done and failed, in the order of the steps."""
    found = rows(
        """SELECT w.step, count(*) FILTER (WHERE w.state = 'pending') AS pending,
                  count(*) FILTER (WHERE w.state = 'leased') AS leased,
                  count(*) FILTER (WHERE w.state = 'done') AS done,
                  count(*) FILTER (WHERE w.state = 'failed') AS failed
           FROM work_items w JOIN index_steps s ON s.run_id = w.run_id AND s.step = w.step
           WHERE w.run_id = :id GROUP BY w.step, s.rank ORDER BY s.rank""",
        id=run_id,
    )
    return [StepProgress(**step) for step in found]


def failures(run_id: int, limit: int = 20) -> list[dict[str, Any]]:
    """The failed items of a run with their last errors."""
    found = rows(
        """SELECT step, key, attempts, error FROM work_items WHERE run_id = :id AND state = 'failed'
           ORDER BY step, rank LIMIT :limit""",
        id=run_id,
        limit=limit,
    )
    return [dict(item) for item in found]


def calls_in_flight() -> int:
    """How many LLM calls the living workers last said they wait for."""
    found = row(
        "SELECT COALESCE(sum(in_flight), 0)::int AS n FROM workers WHERE seen_at > now() - interval '10 seconds'"
    )
    return 0 if found is None else found["n"]


def cancel(run_id: int) -> IndexRun:
    """Stop a run; calls in flight end and are remembered, nothing new is claimed."""
    touched = execute(
        "UPDATE index_runs SET state = 'cancelled', finished_at = now() WHERE id = :id AND state = 'running'", id=run_id
    )
    found = get(run_id)
    if not touched:
        raise ConflictError(f"index run {run_id} is {found.state}, so there is nothing to cancel")
    return found


def retry(run_id: int) -> IndexRun:
    """Try a failed run's failed items again, and go on from there; what is done stays done.

    Raises ConflictError when the run has not failed, or another one of the collection is running.
    """
    with transaction() as connection:
        try:
            touched = run(
                connection,
                """UPDATE index_runs SET state = 'running', error = NULL, finished_at = NULL
                   WHERE id = :id AND state = 'failed'""",
                id=run_id,
            ).rowcount
        except IntegrityError as error:
            raise ConflictError("another build of this collection is running: wait for it, or cancel it") from error
        if touched:
            run(
                connection,
                "UPDATE index_steps SET plan_attempts = 0, leased_by = NULL, rung_at = now() WHERE run_id = :id",
                id=run_id,
            )
            run(
                connection,
                """UPDATE work_items SET state = 'pending', attempts = 0, leased_by = NULL
                   WHERE run_id = :id AND state = 'failed'""",
                id=run_id,
            )
    found = get(run_id)
    if not touched:
        raise ConflictError(f"index run {run_id} is {found.state}, so there is nothing to retry")
    return found
