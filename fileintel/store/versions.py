"""Index versions: which of a collection's complete runs its questions are answered from."""

from __future__ import annotations

from sqlalchemy import Connection

from fileintel.errors import ConflictError
from fileintel.model import IndexVersion
from fileintel.store.engine import execute, row, rows, run, transaction

KEPT_VERSIONS = 3


def withdraw(collection_id: str) -> None:
    """Answer a collection's questions from no version any more: its last document is gone."""
    execute("UPDATE collections SET published_version = NULL WHERE id = :id", id=collection_id)


# Below this, comparing a question with every entity takes less than a tenth of a second.
EXACT_ENTITIES = 50_000
_VECTOR_INDEX = "embedding_of_version_"


def publish(run_id: int) -> None:
    """Answer the collection's questions from this run's version from now on: one UPDATE."""
    execute(
        """UPDATE collections SET published_version = :id
           WHERE id = (SELECT collection_id FROM index_runs WHERE id = :id)""",
        id=run_id,
    )


def changed_since(version: int) -> bool:
    """Whether the collection's documents have changed since this version took them up."""
    found = row(
        """SELECT c.changed_at > COALESCE(s.finished_at, r.created_at) AS changed
           FROM index_runs r JOIN collections c ON c.id = r.collection_id
           LEFT JOIN index_steps s ON s.run_id = r.id AND s.step = 'create_base_text_units'
           WHERE r.id = :id""",
        id=version,
    )
    return found is not None and bool(found["changed"])


def index_vectors(run_id: int) -> bool:
    """Give a version with many entities an HNSW index of its own; whether it needed one."""
    found = row("SELECT count(*) AS n FROM entities WHERE version = :id", id=run_id)
    if found is None or found["n"] < EXACT_ENTITIES:
        return False
    # A name that is there may be what an interrupted try left: such an index is invalid, and never used.
    execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_VECTOR_INDEX}{int(run_id)}")
    execute(
        f"""CREATE INDEX CONCURRENTLY {_VECTOR_INDEX}{int(run_id)} ON entities
            USING hnsw (embedding vector_cosine_ops) WHERE version = {int(run_id)}"""
    )
    return True


def forget_vector_indexes(connection: Connection, which: str = "true") -> None:
    """Drop the vector indexes of the versions for which the condition on `version` is true."""
    found = run(
        connection,
        f"""SELECT indexname FROM (
                SELECT indexname, substr(indexname, length('{_VECTOR_INDEX}') + 1)::bigint AS version
                FROM pg_indexes WHERE indexname LIKE '{_VECTOR_INDEX}%' AND schemaname = current_schema()
            ) i WHERE {which}""",
    )
    for name in list(found.scalars()):
        run(connection, f'DROP INDEX "{name}"')


def tidy(run_id: int) -> None:
    """Remove what a complete run no longer needs: its inputs and results (the memo keeps every answer), and versions
    older than the newest KEPT_VERSIONS that are complete and differ; the one just replaced stays for who reads it."""
    with transaction() as connection:
        run(
            connection,
            """UPDATE work_items w SET input = '{}', output = CASE WHEN w.output ? 'unreadable'
                   THEN jsonb_build_object('unreadable', w.output->'unreadable') END
               FROM index_runs r
               WHERE w.run_id = :id AND r.id = w.run_id AND r.state = 'complete'
                 AND (w.output IS NOT NULL OR w.input <> '{}')""",
            id=run_id,
        )
        run(connection, _REPEATS, id=run_id)
        run(
            connection,
            """WITH complete AS (
                   SELECT id, (parameters->>'repeats')::bigint AS repeats FROM index_runs
                   WHERE collection_id = (SELECT collection_id FROM index_runs WHERE id = :id) AND state = 'complete'
               ), different AS (
                   SELECT id FROM complete WHERE id NOT IN (SELECT repeats FROM complete WHERE repeats IS NOT NULL)
                   ORDER BY id DESC LIMIT :kept
               )
               DELETE FROM index_runs WHERE state <> 'running'
                 AND collection_id = (SELECT collection_id FROM index_runs WHERE id = :id)
                 AND (id < (SELECT min(id) FROM different)
                      OR id IN (SELECT repeats FROM complete WHERE id < (SELECT max(id) FROM complete)))
                 AND id NOT IN (SELECT published_version FROM collections WHERE published_version IS NOT NULL)""",
            id=run_id,
            kept=KEPT_VERSIONS,
        )
        forget_vector_indexes(connection, "NOT EXISTS (SELECT 1 FROM index_runs r WHERE r.id = i.version)")


# What is said of things, not how they are numbered: a graph built again from the same documents is the same.
_CONTENT = """(
    SELECT md5(string_agg(md5(CAST(part AS text)), '' ORDER BY md5(CAST(part AS text)))) FROM (
        SELECT ROW(title, type, description, text_unit_ids) FROM entities WHERE version = {version}
        UNION ALL
        SELECT ROW(source, target, description, weight) FROM relationships WHERE version = {version}
        UNION ALL
        SELECT ROW(level, title, full_content, rank) FROM community_reports WHERE version = {version}
        UNION ALL
        SELECT ROW(subject, object, type, status, description) FROM covariates WHERE version = {version}
    ) AS parts(part)
)"""
_REPEATS = f"""
    UPDATE index_runs r SET parameters = r.parameters || jsonb_build_object('repeats', b.id) FROM index_runs b
    WHERE r.id = :id AND r.state = 'complete' AND b.state = 'complete'
      AND b.id = (r.parameters->>'base_version')::bigint AND b.embedding_model = r.embedding_model
      AND {_CONTENT.format(version="r.id")} = {_CONTENT.format(version="b.id")}
"""


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
