"""Worker processes' heartbeats, and giving back what the dead held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fileintel.store.engine import execute, row, rows, run, transaction

SILENT_SECONDS = 30
# Documents may wait long behind others in their queue; a second message for one costs little but not nothing.
QUIET_SECONDS = {"document": 120, "query": 30, "step": 10}
REAPER_LOCK = 7_231_985


@dataclass(frozen=True, slots=True)
class Bell:
    """Something unfinished whose Celery message may be lost: kind is document, query, step (id `run:step`), or
    collection (one that changed and is to be built)."""

    kind: str
    id: str


def beat(
    worker: str, *, name: str, host: str, pid: int, in_flight: int, call_limit: int, longest_stall_ms: float, by: str
) -> None:
    """Say that this worker process lives, and how it fares."""
    execute(
        """INSERT INTO workers (id, name, host, pid, in_flight, call_limit, longest_stall_ms, stalled_by)
           VALUES (:id, :name, :host, :pid, :in_flight, :call_limit, :stall, :by)
           ON CONFLICT (id) DO UPDATE SET seen_at = now(), in_flight = excluded.in_flight,
               call_limit = excluded.call_limit, longest_stall_ms = excluded.longest_stall_ms,
               stalled_by = excluded.stalled_by""",
        id=worker,
        name=name,
        host=host,
        pid=pid,
        in_flight=in_flight,
        call_limit=call_limit,
        stall=longest_stall_ms,
        by=by,
    )


def asking() -> int:
    """How many living worker processes ask the LLM: those that have a limit of calls."""
    found = row(
        """SELECT count(*) AS n FROM workers
           WHERE call_limit > 0 AND seen_at > now() - make_interval(secs => :silent)""",
        silent=SILENT_SECONDS,
    )
    return 0 if found is None else int(found["n"])


def leave(worker: str) -> None:
    """Say that this worker process ends; whatever it still holds is free at once."""
    with transaction() as connection:
        run(connection, "DELETE FROM workers WHERE id = :id", id=worker)
        for statement in _FREE:
            run(connection, statement.format(whose="leased_by = :worker"), worker=worker)


def living() -> list[dict[str, object]]:
    """The worker processes seen lately, with calls in flight, limit and longest hub stall."""
    found = rows(
        """SELECT id, name, host, pid, started_at, seen_at, in_flight, call_limit, longest_stall_ms, stalled_by
           FROM workers WHERE seen_at > now() - make_interval(secs => :silent) ORDER BY name, id""",
        silent=SILENT_SECONDS,
    )
    return [dict(worker) for worker in found]


def reap(max_attempts: int, settled_seconds: int = 0) -> list[Bell] | None:
    """Free what dead workers hold and name what must be rung again; None when another process is reaping.

    Unless `settled_seconds` is 0, a collection with a graph whose documents changed, but not for so long, is named too.

    A worker counts as dead when unseen for SILENT_SECONDS. A thing that waits while nobody has it in hand is rung
    again when its last bell is older than QUIET_SECONDS, for the message may be lost.
    """
    dead = """leased_by NOT IN (SELECT id FROM workers WHERE seen_at > now() - make_interval(secs => :silent))"""
    with transaction() as connection:
        if not run(connection, "SELECT pg_try_advisory_xact_lock(:lock)", lock=REAPER_LOCK).scalar_one():
            return None
        for statement in _FREE:
            run(connection, statement.format(whose=dead), silent=SILENT_SECONDS)
        run(
            connection,
            """UPDATE work_items SET state = 'failed', error = COALESCE(error, 'its worker died each time')
               WHERE state = 'pending' AND attempts >= :most""",
            most=max_attempts,
        )
        run(
            connection,
            """UPDATE documents SET state = 'failed', error_code = 'parser-limit',
                   error = name || ': its worker died each time it was read: it may need more memory'
               WHERE state = 'queued' AND attempts >= :most""",
            most=max_attempts,
        )
        run(
            connection,
            """UPDATE queries SET state = 'failed', error_code = 'service', finished_at = now(),
                   error = COALESCE(error, 'the worker died each time it answered this: ask again')
               WHERE state = 'queued' AND attempts >= :most""",
            most=max_attempts,
        )
        run(connection, "DELETE FROM workers WHERE seen_at < now() - interval '1 day'")
        found: list[Any] = []
        found += run(
            connection,
            """UPDATE documents SET rung_at = now() WHERE state = 'queued'
                   AND rung_at < now() - make_interval(secs => :quiet) RETURNING 'document' AS kind, id""",
            quiet=QUIET_SECONDS["document"],
        ).all()
        found += run(
            connection,
            """UPDATE queries SET rung_at = now() WHERE state = 'queued'
                   AND rung_at < now() - make_interval(secs => :quiet) RETURNING 'query' AS kind, id""",
            quiet=QUIET_SECONDS["query"],
        ).all()
        found += run(
            connection,
            """UPDATE index_steps s SET rung_at = now() FROM index_runs r
               WHERE r.id = s.run_id AND r.state = 'running' AND s.state IN ('open', 'planned')
               AND s.leased_by IS NULL AND s.rung_at < now() - make_interval(secs => :quiet)
               AND NOT EXISTS (SELECT 1 FROM work_items w
                               WHERE w.run_id = s.run_id AND w.step = s.step AND w.state = 'leased')
               RETURNING 'step' AS kind, s.run_id || ':' || s.step""",
            quiet=QUIET_SECONDS["step"],
        ).all()
        if settled_seconds:
            found += run(connection, _CHANGED, settled=settled_seconds).all()
    return [Bell(kind, str(identity)) for kind, identity in found]


_CHANGED = """
    SELECT 'collection' AS kind, c.id FROM collections c
    WHERE c.published_version IS NOT NULL AND c.changed_at < now() - make_interval(secs => :settled)
      AND NOT EXISTS (SELECT 1 FROM documents d WHERE d.collection_id = c.id AND d.state IN ('queued', 'processing'))
      AND NOT EXISTS (
          SELECT 1 FROM index_runs r LEFT JOIN index_steps s
              ON s.run_id = r.id AND s.step = 'create_base_text_units'
          WHERE r.collection_id = c.id
            AND (r.state = 'running' OR r.created_at > c.changed_at OR s.finished_at > c.changed_at))
"""

_FREE = (
    """UPDATE work_items SET state = 'pending', leased_by = NULL WHERE state = 'leased' AND {whose}""",
    """UPDATE documents SET state = 'queued', leased_by = NULL, rung_at = 'epoch'
       WHERE state = 'processing' AND {whose}""",
    """UPDATE queries SET state = 'queued', leased_by = NULL, rung_at = 'epoch'
       WHERE state = 'answering' AND {whose}""",
    """UPDATE index_steps SET leased_by = NULL, rung_at = 'epoch' WHERE state = 'open' AND {whose}""",
)
