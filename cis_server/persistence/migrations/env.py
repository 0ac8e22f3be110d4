"""What Alembic runs: the connection comes from `cis_server.persistence.migrate`."""

from __future__ import annotations

from alembic import context

from cis_server.persistence.migrate import is_ours
from cis_server.persistence.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=is_ours,
    transactional_ddl=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
