"""Clients, the people who work for them, and their campaigns."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Time,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cis_server.domain.vocabulary import SubscriptionStatus
from cis_server.persistence.tables._columns import (
    client_key,
    flag,
    instant,
    is_channel,
    key,
    metadata,
    of_client,
    one_of,
    part_of,
    refers_to,
    short_id,
    within,
)

clients = Table(
    "clients",
    metadata,
    client_key(),
    Column("name", Text, nullable=False, server_default=""),
    Column("tier", Text, comment="commercial plan; without effect on learning"),
    Column("subscription_status", Text, nullable=False, server_default="trialing"),
    Column("credits_remaining", Integer),
    Column("default_permission_mode", Text, nullable=False, server_default="co_pilot"),
    Column("timezone", Text, nullable=False, server_default="Australia/Sydney"),
    Column("icp", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("competitor_domains", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("policy", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("conversion_sample_count", Integer, nullable=False, server_default="0"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("deleted_at"),
    short_id("client_id"),
    one_of("subscription_status", SubscriptionStatus),
    CheckConstraint(
        "default_permission_mode IN ('autopilot', 'co_pilot', 'manual')",
        name="default_permission_mode_known",
    ),
)
Index(
    "ix_clients_subscription_status",
    clients.c.subscription_status,
    postgresql_where=clients.c.deleted_at.is_(None),
)

users = Table(
    "users",
    metadata,
    key("user_id"),
    Column("email", Text, nullable=False, unique=True),
    Column("full_name", Text),
    Column("timezone", Text, nullable=False, server_default="Australia/Sydney"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    CheckConstraint("email = lower(email)", name="email_lower"),
)

memberships = Table(
    "memberships",
    metadata,
    client_key(),
    Column("user_id", Text, primary_key=True),
    Column("role", Text, nullable=False, server_default="member"),
    Column("invited_by", Text),
    Column("invited_email", Text),
    instant("accepted_at"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("deleted_at"),
    of_client(),
    ForeignKeyConstraint(["user_id"], ["users.user_id"], ondelete="CASCADE"),
    CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role_known"),
)
Index(
    "ix_memberships_user_id_live",
    memberships.c.user_id,
    postgresql_where=memberships.c.deleted_at.is_(None) & memberships.c.accepted_at.is_not(None),
)

campaigns = Table(
    "campaigns",
    metadata,
    client_key(),
    key("campaign_id"),
    Column("name", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False, server_default="active"),
    Column("permission_mode", Text),
    Column("icp", JSONB, comment="overrides the client's profile when set"),
    Column(
        "allocation",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="channel -> percent of touches; empty = unrestricted, else 100 in all",
    ),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("daily_limit", Integer, nullable=False, server_default="50"),
    Column("timezone", Text),
    Column("work_hours_start", Time, nullable=False, server_default=text("'09:00'::time")),
    Column("work_hours_end", Time, nullable=False, server_default=text("'17:00'::time")),
    Column(
        "work_days",
        ARRAY(SmallInteger),
        nullable=False,
        server_default=text("'{1,2,3,4,5}'::smallint[]"),
        comment="ISO weekdays, Monday = 1",
    ),
    Column("sequence_steps", Integer, nullable=False, server_default="5"),
    Column("sequence_delay_days", Integer, nullable=False, server_default="3"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("deleted_at"),
    of_client(),
    short_id("campaign_id"),
    within("daily_limit", 1, 500),
    CheckConstraint(
        "status IN ('draft', 'pending_approval', 'approved', 'active', 'paused', 'completed')",
        name="status_known",
    ),
    CheckConstraint(
        "permission_mode IN ('autopilot', 'co_pilot', 'manual')", name="permission_mode_known"
    ),
    CheckConstraint("work_days <@ '{1,2,3,4,5,6,7}'::smallint[]", name="work_days_iso"),
)

campaign_resources = Table(
    "campaign_resources",
    metadata,
    client_key(),
    key("resource_id"),
    Column("campaign_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("value", Text, nullable=False, comment="sender address, seat or number"),
    Column("name", Text),
    Column("daily_limit", Integer),
    Column("daily_used", Integer, nullable=False, server_default="0"),
    instant("last_used_at"),
    instant("last_reset_at"),
    flag("is_active", default=True),
    flag("is_warmed", default=False),
    Column("usage_count", Integer, nullable=False, server_default="0"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    part_of("campaigns", "campaign_id"),
    is_channel(),
)
Index(
    "uq_campaign_resources_value",
    campaign_resources.c.client_id,
    campaign_resources.c.campaign_id,
    campaign_resources.c.channel,
    campaign_resources.c.value,
    unique=True,
)

campaign_sequences = Table(
    "campaign_sequences",
    metadata,
    client_key(),
    Column("campaign_id", Text, primary_key=True),
    Column("step_number", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("delay_days", Double, nullable=False, server_default="3"),
    Column("template_id", Text),
    Column("subject_template", Text),
    Column("body_template", Text),
    flag("skip_if_replied", default=True),
    flag("skip_if_bounced", default=True),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    part_of("campaigns", "campaign_id"),
    is_channel(),
    CheckConstraint("step_number >= 1", name="step_number_range"),
    CheckConstraint("delay_days >= 0", name="delay_days_range"),
)

templates = Table(
    "templates",
    metadata,
    client_key(),
    key("template_id"),
    Column("campaign_id", Text),
    Column("name", Text, nullable=False, server_default=""),
    Column("channel", Text, nullable=False),
    Column("subject", Text),
    Column("body", Text),
    Column("angle", Text),
    Column("cta_type", Text),
    Column("version", Integer, nullable=False, server_default="1"),
    flag("is_active", default=True),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    of_client(),
    refers_to("campaigns", "campaign_id"),
    is_channel(),
)
Index("ix_templates_campaign_id", templates.c.client_id, templates.c.campaign_id)
