"""Jobs: what a main worker works out on request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from fileintel.errors import NotFoundError
from fileintel.model import Job, JobKind
from fileintel.store.engine import as_json, execute, row, rows, transaction
from fileintel.store.engine import run as run_on
from fileintel.store.workers import SILENT_SECONDS

QUIET_SECONDS = 30
KEPT_HOURS = 24
_COLUMNS = "id, collection_id, kind, parameters, state, result, error_code, error, created_at, finished_at"


def create(collection_id: str, kind: JobKind, parameters: Mapping[str, Any]) -> Job:
    """Enter a job; ring for it afterwards."""
    found = row(
        f"""INSERT INTO jobs (id, collection_id, kind, parameters)
            VALUES (:id, :collection, :kind, CAST(:parameters AS jsonb)) RETURNING {_COLUMNS}""",
        id=str(uuid.uuid4()),
        collection=collection_id,
        kind=kind,
        parameters=as_json(dict(parameters)),
    )
    assert found is not None
    return Job(**found)


def ask_to_build(collection_id: str) -> Job | None:
    """Enter an estimate that begins the build if it needs no confirmation; None when the collection's last change has
    had its own."""
    asked = row(
        """SELECT 1 FROM jobs j JOIN collections c ON c.id = j.collection_id
           WHERE c.id = :c AND j.kind = 'estimate' AND j.parameters ->> 'build' = 'true'
             AND j.created_at >= c.changed_at LIMIT 1""",
        c=collection_id,
    )
    return None if asked is not None else create(collection_id, "estimate", {"build": True})


def get(job_id: str) -> Job:
    """The job of that id; raises NotFoundError."""
    found = row(f"SELECT {_COLUMNS} FROM jobs WHERE id = :id", id=job_id)
    if found is None:
        raise NotFoundError(f"there is no job '{job_id[:80]}' (any more: they are kept {KEPT_HOURS} hours)")
    return Job(**found)


def claim(job_id: str, worker: str) -> Job | None:
    """Lease a queued job to a worker; None when there is nothing to do."""
    found = row(
        f"""UPDATE jobs SET state = 'working', leased_by = :worker, attempts = attempts + 1
            WHERE id = :id AND state = 'queued' RETURNING {_COLUMNS}""",
        id=job_id,
        worker=worker,
    )
    return None if found is None else Job(**found)


def finish(job_id: str, worker: str, result: Mapping[str, Any]) -> bool:
    """Store a job's result; False when it was another worker's meanwhile."""
    return bool(
        execute(
            """UPDATE jobs SET state = 'complete', leased_by = NULL, finished_at = now(),
                   result = CAST(:result AS jsonb)
               WHERE id = :id AND state = 'working' AND leased_by = :worker""",
            id=job_id,
            worker=worker,
            result=as_json(dict(result)),
        )
    )


def release(job_id: str, worker: str) -> None:
    """Give a job back after an outage that a later try may cure."""
    execute(
        """UPDATE jobs SET state = 'queued', leased_by = NULL, rung_at = now()
           WHERE id = :id AND state = 'working' AND leased_by = :worker""",
        id=job_id,
        worker=worker,
    )


def fail(job_id: str, worker: str, code: str, error: str) -> None:
    """Store why a job cannot be done."""
    execute(
        """UPDATE jobs SET state = 'failed', leased_by = NULL, finished_at = now(),
               error_code = :code, error = :error
           WHERE id = :id AND state = 'working' AND leased_by = :worker""",
        id=job_id,
        worker=worker,
        code=code,
        error=error[:2000],
    )


def reap(max_attempts: int) -> list[str]:
    """Free what dead workers hold, and name the jobs that wait although nobody has them in hand."""
    with transaction() as connection:
        run_on(
            connection,
            """UPDATE jobs SET state = 'queued', leased_by = NULL, rung_at = 'epoch'
               WHERE state = 'working' AND leased_by NOT IN (
                   SELECT id FROM workers WHERE seen_at > now() - make_interval(secs => :silent))""",
            silent=SILENT_SECONDS,
        )
        run_on(
            connection,
            """UPDATE jobs SET state = 'failed', error_code = 'service', finished_at = now(),
                   error = 'the worker died each time it worked on this: it may need more memory'
               WHERE state = 'queued' AND attempts >= :most""",
            most=max_attempts,
        )
        found = run_on(
            connection,
            """UPDATE jobs SET rung_at = now() WHERE state = 'queued'
                   AND rung_at < now() - make_interval(secs => :quiet) RETURNING id""",
            quiet=QUIET_SECONDS,
        ).scalars()
        return list(found)


def remove_old() -> list[str]:
    """Remove jobs that ended KEPT_HOURS ago; returns the ids of those left, whose files stay."""
    execute("DELETE FROM jobs WHERE finished_at < now() - make_interval(hours => :hours)", hours=KEPT_HOURS)
    return [job["id"] for job in rows("SELECT id FROM jobs")]
