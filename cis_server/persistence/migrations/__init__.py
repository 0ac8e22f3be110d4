"""Alembic migrations; `cis_server.persistence.migrate` applies them."""
