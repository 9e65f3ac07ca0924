"""What an estimate is made from: text units, remembered answers, what earlier builds spent, how fast calls are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fileintel.model import ChatAnswer
from fileintel.store.engine import row, rows
from fileintel.store.sources import UNITS_IN_ORDER

_STEPS = ("extract_graph", "extract_covariates", "summarize_descriptions", "create_community_reports")
# A handful of calls says little about how fast many are.
FEWEST_CALLS = 20
RECENT_RUNS = 5


def text_unit_ids(collection_id: str) -> list[str]:
    """The text units a build would extract, in its order."""
    found = rows(
        f"SELECT unit FROM ({UNITS_IN_ORDER.format(collection=':collection')}) placed ORDER BY place",
        collection=collection_id,
    )
    return [unit["unit"] for unit in found]


def numbers(collection_id: str) -> dict[str, int]:
    """The numbers that the collection's graphs have given to entities and relationships, by id."""
    found = rows("SELECT id, number FROM graph_numbers WHERE collection_id = :c", c=collection_id)
    return {given["id"]: given["number"] for given in found}


def text_units(unit_ids: Sequence[str]) -> list[tuple[str, str, int]]:
    """(id, text, tokens) of these text units, in order."""
    found = rows(
        """SELECT t.id, t.text, t.n_tokens FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS i(id, place)
           JOIN text_units t ON t.id = i.id ORDER BY i.place""",
        ids=list(unit_ids),
    )
    return [(unit["id"], unit["text"], unit["n_tokens"]) for unit in found]


def recall_many(keys: Sequence[str]) -> dict[str, ChatAnswer]:
    """The remembered answers to these requests, by key, in one statement."""
    found = rows(
        "SELECT key, content, tokens_in, tokens_out, finish_reason FROM llm_memo WHERE key = ANY(:keys)",
        keys=list(keys),
    )
    return {
        hit["key"]: ChatAnswer(
            hit["content"], hit["tokens_in"], hit["tokens_out"], hit["finish_reason"], remembered=True
        )
        for hit in found
    }


def spent_by_completed_runs(chat_model: str, collection_id: str | None) -> tuple[list[int], dict[str, dict[str, int]]]:
    """(runs, per step: text units, calls, remembered calls, tokens) of completed runs of a chat model.

    Of a collection the newest run that worked on text units; of all collections (None) the RECENT_RUNS newest.
    """
    counted = rows(
        """WITH chosen AS (
               SELECT r.id, (SELECT count(*) FROM work_items w
                             WHERE w.run_id = r.id AND w.step = 'extract_graph') AS units
               FROM index_runs r
               WHERE r.state = 'complete' AND r.chat_model = :model
                 AND (CAST(:collection AS text) IS NULL OR r.collection_id = :collection)
               ORDER BY r.id DESC LIMIT :most
           )
           SELECT w.step, array_agg(DISTINCT c.id) AS runs,
                  (SELECT sum(units) FROM chosen)::bigint AS units, sum(w.calls)::bigint AS calls,
                  sum(w.calls_remembered)::bigint AS remembered, sum(w.tokens_in)::bigint AS tokens_in,
                  sum(w.tokens_out)::bigint AS tokens_out
           FROM chosen c JOIN work_items w ON w.run_id = c.id
           WHERE c.units > 0 AND w.step = ANY(:steps) GROUP BY w.step""",
        model=chat_model,
        collection=collection_id,
        steps=list(_STEPS),
        most=RECENT_RUNS if collection_id is None else 1,
    )
    numbers = ("units", "calls", "remembered", "tokens_in", "tokens_out")
    runs = sorted({run for step in counted for run in step["runs"]})
    return runs, {step["step"]: {name: int(step[name]) for name in numbers} for step in counted}


def rate_of_completed_runs(chat_model: str) -> tuple[float, int] | None:
    """(calls per second while calls were made, in how many runs) of the newest completed runs; None if too few."""
    found = row(
        """WITH chosen AS (
               SELECT r.id FROM index_runs r
               WHERE r.state = 'complete' AND r.chat_model = :model
                 AND (SELECT sum(calls) FROM work_items w WHERE w.run_id = r.id) >= :fewest
               ORDER BY r.id DESC LIMIT :most
           ), steps AS (
               SELECT w.run_id, w.step, sum(w.calls) AS calls,
                      extract(epoch FROM max(w.finished_at) - min(w.started_at)) AS seconds
               FROM chosen c JOIN work_items w ON w.run_id = c.id AND w.calls > 0 GROUP BY w.run_id, w.step
           )
           SELECT sum(calls)::double precision AS calls, sum(seconds)::double precision AS seconds,
                  count(DISTINCT run_id)::int AS runs FROM steps""",
        model=chat_model,
        fewest=FEWEST_CALLS,
        most=RECENT_RUNS,
    )
    if found is None or not found["runs"] or not found["seconds"]:
        return None
    return found["calls"] / found["seconds"], found["runs"]


def rate_of_workers(chat_model: str) -> tuple[float, int, float] | None:
    """(calls per second, limit, seconds per call): the limit the living workers last found over what a call of an
    unfinished build took; None when either is unknown."""
    found: Any = row(
        """SELECT (SELECT COALESCE(sum(call_limit), 0) FROM workers
                   WHERE call_limit > 0 AND seen_at > now() - interval '30 seconds')::int AS limit_,
                  avg(extract(epoch FROM finished_at - started_at) / calls)::double precision AS seconds,
                  count(*)::int AS items
           FROM (SELECT w.started_at, w.finished_at, w.calls FROM work_items w
                 WHERE w.run_id IN (SELECT id FROM index_runs WHERE chat_model = :model ORDER BY id DESC LIMIT :most)
                   AND w.calls > 0 AND w.state = 'done' AND w.attempts = 1
                 ORDER BY w.finished_at DESC LIMIT 500) last_""",
        model=chat_model,
        most=RECENT_RUNS,
    )
    if found is None or found["items"] < FEWEST_CALLS or not found["limit_"] or not found["seconds"]:
        return None
    return found["limit_"] / found["seconds"], found["limit_"], found["seconds"]
