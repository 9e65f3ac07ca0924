"""The work table: what is left of a step, who has it, what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fileintel.model import ChatAnswer, WorkItem
from fileintel.store.engine import as_json, execute, row, rows, run, transaction
from fileintel.store.memo import INSERT_ANSWERS, answers_json

MAX_ATTEMPTS = 5

_CLAIM = """
    UPDATE work_items w SET state = 'leased', leased_by = :worker, attempts = w.attempts + 1,
        started_at = COALESCE(w.started_at, now())
    FROM (
        SELECT i.run_id, i.step, i.key FROM work_items i JOIN index_runs r ON r.id = i.run_id AND r.state = 'running'
        WHERE i.run_id = :run_id AND i.step = :step AND i.state = 'pending'
        ORDER BY i.rank LIMIT :most FOR UPDATE OF i SKIP LOCKED
    ) c
    WHERE w.run_id = c.run_id AND w.step = c.step AND w.key = c.key
    RETURNING w.key, w.attempts,
        CASE WHEN w.step IN ('extract_graph', 'extract_covariates')
             THEN jsonb_build_object('text', (SELECT text FROM text_units WHERE id = w.key))
             ELSE w.input END AS input
"""

_FINISH = """
    UPDATE work_items SET state = 'done', leased_by = NULL, output = CAST(:output AS jsonb), error = NULL,
        calls = calls + :calls, calls_remembered = calls_remembered + :remembered,
        tokens_in = tokens_in + :tokens_in, tokens_out = tokens_out + :tokens_out, finished_at = now()
    WHERE run_id = :run_id AND step = :step AND key = :key AND leased_by = :worker
"""


@dataclass(slots=True)
class Spent:
    """What the work on one item has cost, and the answers it bought and has not stored yet."""

    calls: int = 0
    remembered: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    answers: dict[str, tuple[str, ChatAnswer]] = field(default_factory=dict)


def plan(run_id: int, step: str, items: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Enter a step's items (key, input) in order and mark it planned, once; returns how many there are."""
    listed = [{"rank": rank, "key": key, "input": given} for rank, (key, given) in enumerate(items)]
    with transaction() as connection:
        current = run(
            connection,
            "SELECT 1 FROM index_runs WHERE id = :id AND step = :step AND NOT planned AND state = 'running' FOR UPDATE",
            id=run_id,
            step=step,
        ).first()
        if current is not None:
            run(
                connection,
                """INSERT INTO work_items (run_id, step, key, rank, input)
                   SELECT :run_id, :step, key, rank, COALESCE(input, '{}')
                   FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS i(rank int, key text, input jsonb)
                   ON CONFLICT DO NOTHING""",
                run_id=run_id,
                step=step,
                items=as_json(listed),
            )
            run(
                connection,
                """UPDATE index_runs SET planned = true, leased_by = NULL, plan_attempts = 0, rung_at = now()
                   WHERE id = :id""",
                id=run_id,
            )
    return len(listed)


def claim_some(run_id: int, step: str, worker: str, most: int) -> list[WorkItem]:
    """Lease up to `most` of the step's pending items to this worker; none when there are none or the run has ended."""
    found = rows(_CLAIM, run_id=run_id, step=step, worker=worker, most=most)
    return [WorkItem(run_id, step, **item) for item in found]


def claim(run_id: int, step: str, worker: str) -> WorkItem | None:
    """Lease the step's next pending item to this worker; None when there is none or the run has ended."""
    found = claim_some(run_id, step, worker, 1)
    return found[0] if found else None


def finish_and_claim(
    item: WorkItem, worker: str, output: Mapping[str, Any], spent: Spent, *, most: int = 1
) -> WorkItem | None:
    """Write an item's result, remember the answers it bought and lease the next item, in one round trip.

    With `most=0` none is leased.
    The item's result is dropped when its lease was lost meanwhile (its answers are kept all the same).
    """
    values: dict[str, Any] = {
        "run_id": item.run_id,
        "step": item.step,
        "key": item.key,
        "worker": worker,
        "output": as_json(dict(output)),
        "calls": spent.calls,
        "remembered": spent.remembered,
        "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out,
    }
    parts = [f"finished AS ({_FINISH})"]
    if spent.answers:
        values["answers"] = answers_json(spent.answers)
        parts.append(f"remembered AS ({INSERT_ANSWERS})")
    found = row(f"WITH {', '.join(parts)} {_CLAIM}", most=most, **values)
    return None if found is None else WorkItem(item.run_id, item.step, **found)


def give_back(item: WorkItem, worker: str, *, error: str, raw_answer: str = "", spent: Spent, final: bool) -> None:
    """Return an item that could not be done: pending again, or failed when `final` or tried MAX_ATTEMPTS times."""
    with transaction() as connection:
        if spent.answers:
            run(connection, INSERT_ANSWERS, answers=answers_json(spent.answers))
        run(
            connection,
            """UPDATE work_items SET leased_by = NULL, error = :error, raw_answer = NULLIF(:raw, ''),
                   state = CASE WHEN :final OR attempts >= :most THEN 'failed' ELSE 'pending' END,
                   calls = calls + :calls, calls_remembered = calls_remembered + :remembered,
                   tokens_in = tokens_in + :tokens_in, tokens_out = tokens_out + :tokens_out
               WHERE run_id = :run_id AND step = :step AND key = :key AND leased_by = :worker""",
            run_id=item.run_id,
            step=item.step,
            key=item.key,
            worker=worker,
            error=error[:2000],
            raw=raw_answer[:20000].replace("\x00", ""),
            final=final,
            most=MAX_ATTEMPTS,
            calls=spent.calls,
            remembered=spent.remembered,
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
        )


def postpone(item: WorkItem, worker: str) -> None:
    """Return an item that is not due yet, without counting the attempt."""
    execute(
        """UPDATE work_items SET state = 'pending', leased_by = NULL, attempts = attempts - 1
           WHERE run_id = :run_id AND step = :step AND key = :key AND leased_by = :worker""",
        run_id=item.run_id,
        step=item.step,
        key=item.key,
        worker=worker,
    )


def pending(run_id: int, step: str) -> int:
    """How many items of the step nobody has yet."""
    found = rows(
        "SELECT count(*) AS n FROM work_items WHERE run_id = :id AND step = :step AND state = 'pending'",
        id=run_id,
        step=step,
    )
    return int(found[0]["n"])


def outputs(run_id: int, step: str) -> list[tuple[str, dict[str, Any]]]:
    """(key, result) of a step's done items in the order they were planned."""
    found = rows(
        "SELECT key, output FROM work_items WHERE run_id = :id AND step = :step AND state = 'done' ORDER BY rank",
        id=run_id,
        step=step,
    )
    return [(item["key"], item["output"]) for item in found]
