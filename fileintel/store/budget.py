"""What a run may still spend: calls are granted in small lots, so that workers ask once in many calls."""

from __future__ import annotations

from fileintel.errors import ConflictError
from fileintel.model import IndexRun, WorkItem
from fileintel.store import runs
from fileintel.store.engine import as_json, execute, row, run, transaction
from fileintel.store.memo import INSERT_ANSWERS, answers_json
from fileintel.store.work import Spent

BUDGET = "budget"
# The most calls granted at once: what a worker may hold unused, and what a budget in money is exceeded by at most
# beside the calls in flight.
LOT = 20


def grant(run_id: int, *, cost: float = 0.0) -> int:
    """Note what calls since the last grant have cost, and grant a lot of further calls; 0 when the budget is spent.

    Lots shrink towards the end of the budget: in calls it is never exceeded, in money by no more than the calls in
    flight and a lot. A run without budget gets whole lots.
    """
    found = row(
        """WITH now_ AS (
               SELECT id, calls_granted, cost_spent + :cost AS spent,
                      COALESCE((parameters ->> 'budget_calls')::bigint, 0) AS most_calls,
                      COALESCE((parameters ->> 'budget_cost')::double precision, 0) AS most_cost
               FROM index_runs WHERE id = :id FOR UPDATE
           ), lot AS (
               SELECT id, spent, LEAST(
                   :lot,
                   CASE WHEN most_calls = 0 THEN :lot
                        ELSE LEAST(most_calls - calls_granted, GREATEST(1, (most_calls - calls_granted) / 4)) END,
                   CASE WHEN most_cost = 0 THEN :lot
                        WHEN spent >= most_cost THEN 0
                        WHEN spent = 0 THEN 1
                        ELSE GREATEST(1, floor((most_cost - spent) / 4 * calls_granted / spent)) END
               )::bigint AS n FROM now_
           )
           UPDATE index_runs r SET calls_granted = r.calls_granted + GREATEST(lot.n, 0), cost_spent = lot.spent
           FROM lot WHERE r.id = lot.id RETURNING GREATEST(lot.n, 0) AS n""",
        id=run_id,
        cost=cost,
        lot=LOT,
    )
    return 0 if found is None else int(found["n"])


def stop(run_id: int) -> None:
    """End a run whose budget is spent: nothing new is claimed, calls in flight are kept, `resume` goes on."""
    execute(
        """UPDATE index_runs SET state = 'failed', error_code = :code, finished_at = now(),
               error = 'stopped: its budget of '
                   || concat_ws(' and ', NULLIF(COALESCE(parameters ->> 'budget_calls', '0'), '0') || ' calls',
                                'a cost of ' || NULLIF(COALESCE(parameters ->> 'budget_cost', '0'), '0'))
                   || ' is spent; what was done stays: go on with a higher one (retry --budget, --budget-cost)'
           WHERE id = :id AND state = 'running'""",
        id=run_id,
        code=BUDGET,
    )


def set_aside(item: WorkItem, worker: str, spent: Spent) -> None:
    """Return an item that may make no further call, without counting the attempt; what it bought is kept."""
    with transaction() as connection:
        if spent.answers:
            run(connection, INSERT_ANSWERS, answers=answers_json(spent.answers))
        run(
            connection,
            """UPDATE work_items SET state = 'pending', leased_by = NULL, attempts = attempts - 1,
                   calls = calls + :calls, calls_remembered = calls_remembered + :remembered,
                   tokens_in = tokens_in + :tokens_in, tokens_out = tokens_out + :tokens_out
               WHERE run_id = :run_id AND step = :step AND key = :key AND leased_by = :worker""",
            run_id=item.run_id,
            step=item.step,
            key=item.key,
            worker=worker,
            calls=spent.calls,
            remembered=spent.remembered,
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
        )


def resume(run_id: int, *, calls: int | None, cost: float | None) -> IndexRun:
    """Give a failed run a new budget (in all; 0 takes it away, None leaves it) and try what is left of it.

    What was granted and never used counts again. Raises ConflictError when the run stopped for its budget and that is
    not raised, and those of `runs.retry`.
    """
    found = row(
        """SELECT error_code, COALESCE((parameters ->> 'budget_calls')::bigint, 0) AS calls,
                  COALESCE((parameters ->> 'budget_cost')::double precision, 0) AS cost, cost_spent AS spent,
                  (SELECT COALESCE(sum(calls), 0) FROM work_items WHERE run_id = :id)::bigint AS made
           FROM index_runs WHERE id = :id""",
        id=run_id,
    )
    if found is not None and found["error_code"] == BUDGET:
        most_calls = found["calls"] if calls is None else calls
        most_cost = found["cost"] if cost is None else cost
        if 0 < most_calls <= found["made"]:
            raise ConflictError(
                f"index run {run_id} has made {found['made']} calls of {most_calls}: give it a higher budget (--budget)"
            )
        if 0 < most_cost <= found["spent"]:
            raise ConflictError(
                f"index run {run_id} has cost {found['spent']:g} of {most_cost:g}: give it more (--budget-cost)"
            )
    given = {name: value for name, value in (("budget_calls", calls), ("budget_cost", cost)) if value is not None}
    # Before the run goes on. Whoever still holds calls of the old budget sees by the round that they are void; what
    # is leased has a call in flight that is not written down yet.
    execute(
        """UPDATE index_runs SET error_code = NULL,
               parameters = parameters || CAST(:given AS jsonb) || jsonb_build_object(
                   'budget_round', COALESCE((parameters ->> 'budget_round')::int, 0) + 1),
               calls_granted = (SELECT COALESCE(sum(calls), 0) + count(*) FILTER (WHERE state = 'leased')
                                FROM work_items WHERE run_id = :id)
           WHERE id = :id AND state = 'failed'""",
        id=run_id,
        given=as_json(given),
    )
    return runs.retry(run_id)
