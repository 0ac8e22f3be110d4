"""What the installation finds out about itself."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Date, Integer, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from cis_server.persistence.tables._columns import client_key, instant, metadata, of_client

health_checks = Table(
    "health_checks",
    metadata,
    client_key(),
    Column("checked_on", Date, primary_key=True, comment="in UTC; the last check of a day stays"),
    instant("checked_at", now=True),
    Column("warnings", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("warning_count", Integer, nullable=False, server_default="0"),
    Column("high_count", Integer, nullable=False, server_default="0"),
    of_client(),
    CheckConstraint("high_count BETWEEN 0 AND warning_count", name="high_count_range"),
)
