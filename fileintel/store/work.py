"""The work table: what is left of a step, who has it, what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fileintel.model import ChatAnswer, WorkItem
from fileintel.store.engine import as_json, execute, row, rows
from fileintel.store.grouped import Grouped
from fileintel.store.memo import INSERT_ANSWERS, answers_json

MAX_ATTEMPTS = 5

# What an item is worked from is read when it is claimed; only what no table holds is kept with it.
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
        CASE w.step
        WHEN 'extract_graph' THEN jsonb_build_object('text', (SELECT text FROM text_units WHERE id = w.key))
        WHEN 'summarize_descriptions' THEN COALESCE(
            (SELECT jsonb_build_object('name', e.title, 'descriptions', e.descriptions)
             FROM entities e WHERE e.version = w.run_id AND e.id = w.key),
            (SELECT jsonb_build_object('name', jsonb_build_array(e.source, e.target), 'descriptions', e.descriptions)
             FROM relationships e WHERE e.version = w.run_id AND e.id = w.key))
        ELSE w.input END AS input
"""

_SETTLE = """
    UPDATE work_items w SET leased_by = NULL,
        state = CASE WHEN s.error IS NULL THEN 'done' WHEN s.final OR w.attempts >= s.most THEN 'failed'
                     ELSE 'pending' END,
        output = COALESCE(s.output, w.output), error = s.error, raw_answer = s.raw,
        calls = w.calls + s.calls, calls_remembered = w.calls_remembered + s.remembered,
        tokens_in = w.tokens_in + s.tokens_in, tokens_out = w.tokens_out + s.tokens_out,
        finished_at = CASE WHEN s.error IS NULL THEN now() END
    FROM jsonb_to_recordset(CAST(:settled AS jsonb)) AS s(key text, output jsonb, error text, raw text, final boolean,
        most int, calls int, remembered int, tokens_in bigint, tokens_out bigint)
    WHERE w.run_id = :run_id AND w.step = :step AND w.key = s.key AND w.leased_by = :worker
"""


@dataclass(slots=True)
class Spent:
    """What the work on one item has cost, and the answers it bought and has not stored yet."""

    calls: int = 0
    remembered: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    answers: dict[str, tuple[str, ChatAnswer]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item: its `output`, or why there is none.

    A failed item is tried again until it was tried `most` times, or not at all when `final`.
    """

    item: WorkItem
    output: Mapping[str, Any] | None
    spent: Spent
    error: str | None = None
    raw_answer: str = ""
    final: bool = False
    most: int = MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class _Exchange:
    run_id: int
    step: str
    worker: str
    outcome: Outcome | None
    most: int


def enter(run_id: int, step: str, items: Iterable[tuple[str, Mapping[str, Any]]], first_rank: int = 0) -> int:
    """Enter items (key, input) of a step, each once, in their order; returns how many were new."""
    listed = [{"rank": first_rank + rank, "key": key, "input": given} for rank, (key, given) in enumerate(items)]
    return execute(
        """INSERT INTO work_items (run_id, step, key, rank, input)
           SELECT :run_id, :step, key, rank, COALESCE(input, '{}')
           FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS i(rank int, key text, input jsonb)
           ON CONFLICT DO NOTHING""",
        run_id=run_id,
        step=step,
        items=as_json(listed),
    )


def exchange(outcome: Outcome | None, run_id: int, step: str, worker: str, *, most: int = 1) -> list[WorkItem]:
    """Write what came of an item, remember the answers it bought and lease up to `most` next items of the step.

    One statement for all greenlets that ask meanwhile. The outcome is dropped when the item's lease was lost (its
    answers are kept all the same). None is leased when there is none or the run has ended.
    """
    return _exchange(_Exchange(run_id, step, worker, outcome, most))


def claim(run_id: int, step: str, worker: str) -> WorkItem | None:
    """Lease the step's next pending item to this worker; None when there is none or the run has ended."""
    found = exchange(None, run_id, step, worker)
    return found[0] if found else None


def _exchange_all(asked: list[_Exchange]) -> list[list[WorkItem]]:
    groups: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for place, each in enumerate(asked):
        groups[each.run_id, each.step, each.worker].append(place)
    leased: list[list[WorkItem]] = [[] for _ in asked]
    for (run_id, step, worker), places in groups.items():
        found = _exchange_of(run_id, step, worker, [asked[place] for place in places])
        for place in places:
            leased[place], found = found[: asked[place].most], found[asked[place].most :]
    return leased


def _exchange_of(run_id: int, step: str, worker: str, asked: Sequence[_Exchange]) -> list[WorkItem]:
    values: dict[str, Any] = {"run_id": run_id, "step": step, "worker": worker, "most": sum(e.most for e in asked)}
    parts = []
    outcomes = [each.outcome for each in asked if each.outcome is not None]
    if outcomes:
        parts.append(f"settled AS ({_SETTLE})")
        values["settled"] = as_json([_settled(outcome) for outcome in outcomes])
    answers = {key: answer for outcome in outcomes for key, answer in outcome.spent.answers.items()}
    if answers:
        parts.append(f"remembered AS ({INSERT_ANSWERS})")
        values["answers"] = answers_json(answers)
    found = rows((f"WITH {', '.join(parts)} " if parts else "") + _CLAIM, **values)
    return [WorkItem(run_id, step, **item) for item in found]


def _settled(outcome: Outcome) -> dict[str, Any]:
    spent = outcome.spent
    return {
        "key": outcome.item.key,
        "output": None if outcome.output is None else dict(outcome.output),
        "error": None if outcome.error is None else outcome.error[:2000],
        "raw": outcome.raw_answer[:20000] or None,
        "final": outcome.final,
        "most": outcome.most,
        "calls": spent.calls,
        "remembered": spent.remembered,
        "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out,
    }


_exchange = Grouped(_exchange_all)


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
    found = row(
        "SELECT count(*) AS n FROM work_items WHERE run_id = :id AND step = :step AND state = 'pending'",
        id=run_id,
        step=step,
    )
    return 0 if found is None else int(found["n"])


def keys(run_id: int, step: str, *, unfinished: bool = False) -> set[str]:
    """The keys of a step's items: of all, or of those not done yet."""
    found = rows(
        "SELECT key FROM work_items WHERE run_id = :id AND step = :step AND (NOT :unfinished OR state <> 'done')",
        id=run_id,
        step=step,
        unfinished=unfinished,
    )
    return {item["key"] for item in found}


def unreadable(run_id: int) -> int:
    """How many fragments of models' answers the run's items had to leave out because they could not be read."""
    found = rows(
        """SELECT COALESCE(sum((output ->> 'unreadable')::int), 0)::int AS n FROM work_items
           WHERE run_id = :id AND output ? 'unreadable'""",
        id=run_id,
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
