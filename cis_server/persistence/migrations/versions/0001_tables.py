"""Roles, and every table of the first release, owned by ``cis_owner``."""

from __future__ import annotations

from alembic import op

from cis_server.persistence.migrations.sql_file import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the roles if the server lacks them, then the tables."""
    run_sql("0001_roles.sql")
    op.execute("SET LOCAL ROLE cis_owner")
    run_sql("0001_tables.sql")
    op.execute("RESET ROLE")


def downgrade() -> None:
    """Drop the tables; the roles stay, other databases of the server may use them."""
    run_sql("0001_drop.sql")
