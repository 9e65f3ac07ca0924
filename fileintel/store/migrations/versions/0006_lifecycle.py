"""Jobs (estimates, exports); budgets of index runs; documents that take the place of others."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE jobs (
    id text PRIMARY KEY,
    collection_id text NOT NULL REFERENCES collections ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('estimate', 'export')),
    parameters jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'working', 'complete', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    leased_by text,
    rung_at timestamptz NOT NULL DEFAULT now(),
    result jsonb,
    error_code text,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX jobs_unfinished ON jobs (state) WHERE state IN ('queued', 'working');

ALTER TABLE index_runs ADD COLUMN error_code text,
    ADD COLUMN calls_granted bigint NOT NULL DEFAULT 0,
    ADD COLUMN cost_spent double precision NOT NULL DEFAULT 0;

ALTER TABLE documents ADD COLUMN replaces_until timestamptz;
CREATE INDEX documents_name ON documents (collection_id, name);
"""


def upgrade() -> None:
    """Add what estimates, exports, budgets and replacements are kept in."""
    op.execute(SCHEMA)
