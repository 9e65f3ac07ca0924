"""Questions' options, and their intermediate calls as rows."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE queries
    ADD COLUMN IF NOT EXISTS community_level int,
    ADD COLUMN IF NOT EXISTS response_type text,
    ADD COLUMN IF NOT EXISTS dynamic_selection boolean NOT NULL DEFAULT false,
    -- What is decided once for all rounds: the mode, and the index version all of them read.
    ADD COLUMN IF NOT EXISTS course jsonb,
    ADD COLUMN IF NOT EXISTS round int NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS query_calls (
    query_id text NOT NULL REFERENCES queries ON DELETE CASCADE,
    round int NOT NULL,
    number int NOT NULL,
    kind text NOT NULL,
    about jsonb NOT NULL DEFAULT '{}',
    request jsonb NOT NULL,
    answer text,
    tokens_in int NOT NULL DEFAULT 0,
    tokens_out int NOT NULL DEFAULT 0,
    PRIMARY KEY (query_id, round, number)
);
"""


def upgrade() -> None:
    """Add what questions of several rounds need."""
    op.execute(SCHEMA)
