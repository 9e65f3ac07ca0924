"""Steps of an index run side by side; exact search of entities and reports; collections that build themselves."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Runs under way go on where they are: the order of steps before this revision was this line.
SCHEMA = """
CREATE TABLE index_steps (
    run_id bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    step text NOT NULL,
    rank int NOT NULL,
    after text[] NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'open', 'planned', 'done')),
    plan_attempts int NOT NULL DEFAULT 0,
    leased_by text,
    rung_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (run_id, step)
);

INSERT INTO index_steps (run_id, step, rank, after, state)
SELECT r.id, s.step, s.rank, CASE WHEN s.rank = 1 THEN '{}' ELSE ARRAY[s.before] END,
       CASE WHEN s.rank < c.rank OR r.state = 'complete' THEN 'done' WHEN s.rank > c.rank THEN 'waiting'
            WHEN r.planned THEN 'planned' ELSE 'open' END
FROM index_runs r CROSS JOIN (
    SELECT step, rank::int, lag(step) OVER (ORDER BY rank) AS before FROM unnest(ARRAY[
        'create_base_text_units', 'extract_graph', 'merge', 'summarize_descriptions', 'finalize_graph',
        'create_communities', 'create_community_reports', 'generate_text_embeddings', 'publish'
    ]) WITH ORDINALITY AS o(step, rank)
) s JOIN LATERAL (
    SELECT array_position(ARRAY[
        'create_base_text_units', 'extract_graph', 'merge', 'summarize_descriptions', 'finalize_graph',
        'create_communities', 'create_community_reports', 'generate_text_embeddings', 'publish'
    ], r.step) AS rank
) c ON true;

ALTER TABLE index_runs DROP COLUMN planned, DROP COLUMN plan_attempts, DROP COLUMN leased_by, DROP COLUMN rung_at;

-- One graph of neighbours over all versions of all collections finds little in any one of them and costs every row of
-- every build an insertion; a version is searched exactly, or by an index of its own.
DROP INDEX entities_embedding;
DROP INDEX community_reports_embedding;

ALTER TABLE collections ADD COLUMN changed_at timestamptz;
"""


def upgrade() -> None:
    """Give every step of a run a row of its own."""
    op.execute(SCHEMA)
