"""Workers say which model server fails them and since when; results that lost fragments are found at once."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

CHANGES = """
ALTER TABLE workers ADD COLUMN model_error text NOT NULL DEFAULT '', ADD COLUMN model_error_since timestamptz;
CREATE INDEX work_items_unreadable ON work_items (run_id) WHERE output ? 'unreadable';
"""


def upgrade() -> None:
    """Add the two columns and the index."""
    op.execute(CHANGES)
