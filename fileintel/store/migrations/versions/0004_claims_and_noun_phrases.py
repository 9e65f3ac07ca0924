"""Claims of index versions, and the noun phrases found in text units."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE covariates (
    version bigint NOT NULL REFERENCES index_runs ON DELETE CASCADE,
    id text NOT NULL,
    number int NOT NULL,
    text_unit_id text NOT NULL,
    subject text NOT NULL,
    object text NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    start_date text NOT NULL,
    end_date text NOT NULL,
    description text NOT NULL,
    source_text text NOT NULL,
    PRIMARY KEY (version, id)
);
CREATE INDEX covariates_subject ON covariates (version, subject);

CREATE TABLE noun_phrases (
    text_unit_id text NOT NULL REFERENCES text_units ON DELETE CASCADE,
    analyzer text NOT NULL,
    phrases text[] NOT NULL,
    PRIMARY KEY (text_unit_id, analyzer)
);
"""


def upgrade() -> None:
    """Create both tables."""
    op.execute(SCHEMA)
