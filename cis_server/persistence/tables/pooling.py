"""What clients that share give to the pool."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from cis_server.persistence.tables._columns import client_key, instant, metadata, of_client

pool_contributions = Table(
    "pool_contributions",
    metadata,
    client_key(),
    Column("target", Text, primary_key=True),
    Column("contribution", JSONB, nullable=False, comment="coefficients and their information"),
    Column("leads", Integer, nullable=False),
    Column("positives", Integer, nullable=False),
    Column("run_id", Text),
    instant("created_at", now=True),
    of_client(),
    CheckConstraint("positives BETWEEN 0 AND leads", name="positives_range"),
)
