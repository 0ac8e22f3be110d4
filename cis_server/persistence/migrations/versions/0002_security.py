"""Row-level security, grants, and the triggers that queue, notify and keep history."""

from __future__ import annotations

from alembic import op

from cis_server.persistence.migrations.sql_file import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Policies and grants first, then functions and triggers."""
    op.execute("SET LOCAL ROLE cis_owner")
    run_sql("0002_policies.sql")
    run_sql("0002_triggers.sql")
    op.execute("RESET ROLE")


def downgrade() -> None:
    """Back to bare tables."""
    op.execute("SET LOCAL ROLE cis_owner")
    run_sql("0002_drop.sql")
    op.execute("RESET ROLE")
