"""The steps of index runs: which may begin, who plans one, and that each ends exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from fileintel.store.engine import as_json, execute, row, rows, run, transaction


def enter(connection: Connection, run_id: int, steps: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Give a new run its steps (name, the steps it comes after), in their order; those after none are open."""
    run(
        connection,
        """INSERT INTO index_steps (run_id, step, rank, after, state, started_at)
           SELECT :run_id, step, rank, after, CASE WHEN after = '{}' THEN 'open' ELSE 'waiting' END,
                  CASE WHEN after = '{}' THEN now() END
           FROM jsonb_to_recordset(CAST(:steps AS jsonb)) AS s(step text, rank int, after text[])""",
        run_id=run_id,
        steps=as_json([{"step": s, "rank": rank, "after": list(after)} for rank, (s, after) in enumerate(steps)]),
    )


def states(run_id: int) -> dict[str, str]:
    """The state of each step of a run (waiting, open, planned, done), in their order."""
    found = rows("SELECT step, state FROM index_steps WHERE run_id = :id ORDER BY rank", id=run_id)
    return {step["step"]: step["state"] for step in found}


def under_way(run_id: int, *, to_plan: bool = False) -> list[str]:
    """The steps of a running run that can be worked on now, or those of which items may still have to be entered; none
    when it is not running."""
    found = rows(
        """SELECT s.step FROM index_steps s JOIN index_runs r ON r.id = s.run_id
           WHERE s.run_id = :id AND r.state = 'running' AND (s.state = 'open' OR s.state = 'planned' AND NOT :to_plan)
           ORDER BY s.rank""",
        id=run_id,
        to_plan=to_plan,
    )
    return [step["step"] for step in found]


def to_plan(run_id: int, step: str) -> bool | None:
    """Whether items of a running run's step may still be missing; None when it is not under way. Notes the bell."""
    found = row(
        """UPDATE index_steps s SET rung_at = now() FROM index_runs r
           WHERE s.run_id = :id AND s.step = :step AND s.state IN ('open', 'planned')
             AND r.id = s.run_id AND r.state = 'running'
           RETURNING s.state = 'open' AS open""",
        id=run_id,
        step=step,
    )
    return None if found is None else bool(found["open"])


def claim_plan(run_id: int, step: str, worker: str, bell: str | None = None) -> str | None:
    """Lease the planning of an open step to a worker, and return the bell that this is; None when there is nothing to
    plan, another is at it, or `bell` (of `pause_plan`) is not the step's last one. Whoever is at it looks once more.
    """
    with transaction() as connection:
        step_row = run(
            connection,
            """SELECT s.leased_by, s.rung_at = CAST(:bell AS timestamptz) AS is_last
               FROM index_steps s JOIN index_runs r ON r.id = s.run_id
               WHERE s.run_id = :id AND s.step = :step AND s.state = 'open' AND r.state = 'running' FOR UPDATE OF s""",
            id=run_id,
            step=step,
            bell=bell,
        ).one_or_none()
        if step_row is None or step_row.is_last is False:
            return None
        rung = run(
            connection,
            """UPDATE index_steps SET rung_at = clock_timestamp(), leased_by = COALESCE(leased_by, :worker),
                   plan_attempts = plan_attempts + CASE WHEN leased_by IS NULL THEN 1 ELSE 0 END
               WHERE run_id = :id AND step = :step RETURNING CAST(rung_at AS text)""",
            id=run_id,
            step=step,
            worker=worker,
        ).scalar_one()
    return str(rung) if step_row.leased_by is None else None


def pause_plan(run_id: int, step: str, worker: str, bell: str) -> tuple[str, bool] | None:
    """Let go of a step whose planning goes on later; what is entered stays.

    Returns the bell to go on with, the only one of the step's that is still heard, and whether the step was rung since
    `bell`; None when the lease was lost.
    """
    found = row(
        """UPDATE index_steps new SET leased_by = NULL, plan_attempts = 0, rung_at = clock_timestamp()
           FROM (SELECT run_id, step, rung_at FROM index_steps
                 WHERE run_id = :id AND step = :step AND leased_by = :worker FOR UPDATE) old
           WHERE new.run_id = old.run_id AND new.step = old.step
           RETURNING CAST(new.rung_at AS text) AS bell, old.rung_at <> CAST(:bell AS timestamptz) AS rung""",
        id=run_id,
        step=step,
        worker=worker,
        bell=bell,
    )
    return None if found is None else (found["bell"], found["rung"])


def finish_plan(run_id: int, step: str, worker: str) -> bool:
    """Note that all items of a step are entered; False when the lease was lost meanwhile."""
    return bool(
        execute(
            """UPDATE index_steps SET state = 'planned', leased_by = NULL, plan_attempts = 0, rung_at = now()
               WHERE run_id = :id AND step = :step AND state = 'open' AND leased_by = :worker""",
            id=run_id,
            step=step,
            worker=worker,
        )
    )


def give_plan_back(run_id: int, step: str, worker: str, error: str, max_attempts: int) -> None:
    """Return a step whose planning failed; after `max_attempts` the run has failed."""
    with transaction() as connection:
        attempts = run(
            connection,
            """UPDATE index_steps SET leased_by = NULL WHERE run_id = :id AND step = :step AND leased_by = :worker
               RETURNING plan_attempts""",
            id=run_id,
            step=step,
            worker=worker,
        ).scalar_one_or_none()
        if attempts is not None:
            _fail(connection, run_id, error[:2000], final=attempts >= max_attempts)


def advance(run_id: int, step: str) -> list[str] | None:
    """End a step whose items are all done, and open those that came after it alone.

    Returns the steps that were opened to exactly one of all who try, None to the others. With failed items the run
    becomes `failed` instead; with its last step it becomes `complete`.
    """
    if not _ended(run_id, step):
        return None
    with transaction() as connection:
        # Two steps may end at once before a third that comes after both: one of the two must see the other's end.
        run(connection, "SELECT 1 FROM index_runs WHERE id = :id FOR UPDATE", id=run_id)
        failed = run(
            connection,
            """SELECT count(*) FROM work_items
               WHERE run_id = :id AND step = :step AND state = 'failed'""",
            id=run_id,
            step=step,
        ).scalar_one()
        if failed:
            error = f"{failed} items of {step} failed: cure the cause, then retry the run"
            _fail(connection, run_id, error, final=True)
            return None
        ended = run(
            connection,
            """UPDATE index_steps s SET state = 'done', finished_at = now()
               WHERE run_id = :id AND step = :step AND state = 'planned' AND NOT EXISTS (
                   SELECT 1 FROM work_items w WHERE w.run_id = :id AND w.step = :step AND w.state <> 'done')""",
            id=run_id,
            step=step,
        ).rowcount
        if not ended:
            return None
        opened = run(
            connection,
            """UPDATE index_steps s SET state = 'open', started_at = now(), rung_at = now()
               WHERE run_id = :id AND state = 'waiting' AND NOT EXISTS (
                   SELECT 1 FROM index_steps p
                   WHERE p.run_id = :id AND p.step = ANY(s.after) AND p.state <> 'done')
               RETURNING step""",
            id=run_id,
        ).scalars()
        names = list(opened)
        run(
            connection,
            """UPDATE index_runs r SET
                   step = COALESCE((SELECT step FROM index_steps WHERE run_id = r.id AND state <> 'done'
                                    ORDER BY rank LIMIT 1), r.step),
                   state = CASE WHEN left_.n = 0 AND r.state = 'running' THEN 'complete' ELSE r.state END,
                   finished_at = CASE WHEN left_.n = 0 THEN now() ELSE r.finished_at END
               FROM (SELECT count(*) AS n FROM index_steps WHERE run_id = :id AND state <> 'done') left_
               WHERE r.id = :id""",
            id=run_id,
        )
    return names


def _ended(run_id: int, step: str) -> bool:
    found = row(
        """SELECT 1 FROM index_steps s WHERE run_id = :id AND step = :step AND state = 'planned' AND NOT EXISTS (
               SELECT 1 FROM work_items w
               WHERE w.run_id = :id AND w.step = :step AND w.state IN ('pending', 'leased'))""",
        id=run_id,
        step=step,
    )
    return found is not None


def _fail(connection: Connection, run_id: int, error: str, *, final: bool) -> None:
    run(
        connection,
        """UPDATE index_runs SET error = :error, state = CASE WHEN :final THEN 'failed' ELSE state END,
               finished_at = CASE WHEN :final THEN now() END
           WHERE id = :id AND state = 'running'""",
        id=run_id,
        error=error,
        final=final,
    )
