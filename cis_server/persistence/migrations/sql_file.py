"""Run a file of SQL statements inside a migration."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def run_sql(name: str) -> None:
    """Run ``versions/NAME`` in the migration's transaction, as it stands: no parameters."""
    script = (Path(__file__).parent / "versions" / name).read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(script)
