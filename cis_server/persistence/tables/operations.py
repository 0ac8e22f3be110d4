"""Tables the database needs for its own work: suppression, the rederive queue, known zones."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Table, Text

from cis_server.domain.suppression import IdentifierKind, SuppressionReason
from cis_server.persistence.tables._columns import (
    client_key,
    instant,
    metadata,
    of_client,
    one_of,
)

suppression = Table(
    "suppression",
    metadata,
    client_key(),
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True, comment="normalised by the database"),
    Column("reason", Text, nullable=False, server_default="manual"),
    Column("source", Text),
    Column("added_by", Text),
    Column("note", Text),
    instant("created_at", now=True),
    of_client(),
    one_of("kind", IdentifierKind),
    one_of("reason", SuppressionReason),
    CheckConstraint("value <> ''", name="value_given"),
)

global_suppression = Table(
    "global_suppression",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True, comment="normalised by the database"),
    Column("reason", Text, nullable=False, server_default="manual"),
    Column("source", Text),
    Column("added_by", Text),
    Column("note", Text),
    instant("created_at", now=True),
    one_of("kind", IdentifierKind),
    one_of("reason", SuppressionReason),
    CheckConstraint("value <> ''", name="value_given"),
)

dirty_leads = Table(
    "dirty_leads",
    metadata,
    client_key(),
    Column("lead_id", Text, primary_key=True),
    instant("queued_at", now=True),
    comment="leads whose events changed since their derived columns were last computed",
)

time_zones = Table(
    "time_zones",
    metadata,
    Column("name", Text, primary_key=True),
    comment="IANA names this server knows; a zone that is not here counts as unknown",
)
