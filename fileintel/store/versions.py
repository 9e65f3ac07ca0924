"""Index versions: which of a collection's complete runs its questions are answered from."""

from __future__ import annotations

from fileintel.errors import ConflictError
from fileintel.model import IndexVersion
from fileintel.store.engine import rows, run, transaction

KEPT_VERSIONS = 3


def publish(run_id: int) -> None:
    """Answer the collection's questions from this run's version from now on, in one transaction.

    What is no longer needed goes with it: the run's inputs and results (the memo keeps every answer), and versions
    older than the newest KEPT_VERSIONS that are complete.
    """
    with transaction() as connection:
        run(
            connection,
            """UPDATE collections SET published_version = :id
               WHERE id = (SELECT collection_id FROM index_runs WHERE id = :id)""",
            id=run_id,
        )
        run(
            connection,
            "UPDATE work_items SET input = '{}', output = NULL WHERE run_id = :id AND step <> 'publish'",
            id=run_id,
        )
        run(
            connection,
            """DELETE FROM index_runs WHERE state <> 'running' AND id < (
                   SELECT min(id) FROM (
                       SELECT id FROM index_runs
                       WHERE collection_id = (SELECT collection_id FROM index_runs WHERE id = :id)
                         AND (state = 'complete' OR id = :id)
                       ORDER BY id DESC LIMIT :kept
                   ) newest
               ) AND collection_id = (SELECT collection_id FROM index_runs WHERE id = :id)""",
            id=run_id,
            kept=KEPT_VERSIONS,
        )


def list_for(collection_id: str) -> list[IndexVersion]:
    """The versions a collection can be answered from, newest first."""
    found = rows(
        """SELECT r.id AS version, r.created_at, r.finished_at, r.chat_model, r.embedding_model,
                  COALESCE(c.published_version = r.id, false) AS published,
                  COALESCE(r.parameters->>'method', 'standard') AS method,
                  (SELECT count(*) FROM covariates e WHERE e.version = r.id)::int AS claims,
                  (SELECT count(*) FROM entities e WHERE e.version = r.id)::int AS entities,
                  (SELECT count(*) FROM relationships e WHERE e.version = r.id)::int AS relationships,
                  (SELECT count(*) FROM communities e WHERE e.version = r.id)::int AS communities,
                  (SELECT count(*) FROM community_reports e WHERE e.version = r.id)::int AS reports
           FROM index_runs r JOIN collections c ON c.id = r.collection_id
           WHERE r.collection_id = :collection AND r.state = 'complete' ORDER BY r.id DESC""",
        collection=collection_id,
    )
    return [IndexVersion(**version) for version in found]


def roll_back(collection_id: str, version: int) -> None:
    """Answer a collection's questions from an earlier (or again from a later) complete version.

    Raises ConflictError when there is no such version.
    """
    with transaction() as connection:
        touched = run(
            connection,
            """UPDATE collections SET published_version = :version
               WHERE id = :collection AND EXISTS (
                   SELECT 1 FROM index_runs
                   WHERE id = :version AND collection_id = :collection AND state = 'complete')""",
            version=version,
            collection=collection_id,
        ).rowcount
    if not touched:
        raise ConflictError(f"the collection has no complete index version {version}: list its versions")
