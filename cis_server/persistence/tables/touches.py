"""What was sent to leads and what they did with it."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Time,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cis_server.domain.vocabulary import (
    Action,
    EmailEventType,
    ReplyIntent,
    TimePrecision,
)
from cis_server.persistence.tables._columns import (
    client_key,
    flag,
    instant,
    is_channel,
    metadata,
    one_of,
    part_of,
    refers_to,
    uuid_key,
    within,
)

activities = Table(
    "activities",
    metadata,
    client_key(),
    uuid_key("activity_id"),
    Column("idempotency_key", Text),
    Column("lead_id", Text, nullable=False),
    Column("campaign_id", Text),
    Column("channel", Text, nullable=False),
    Column("action", Text, nullable=False),
    instant("occurred_at", now=True),
    Column("time_precision", Text, nullable=False, server_default="instant"),
    Column("timezone", Text, comment="the lead's zone as the sender knew it; else the lead's own"),
    Column("decision_id", Text),
    Column(
        "about_activity_id",
        Uuid(as_uuid=False),
        comment="the touch that an open, click, reply or bounce belongs to",
    ),
    # threading
    Column("provider_message_id", Text),
    Column("mail_thread_id", Text),
    Column("in_reply_to", Text),
    Column("sender_domain", Text),
    Column("conversation_thread_id", Text),
    # content
    Column("sequence_step", Integer),
    Column("sequence_id", Text),
    Column("subject", Text),
    Column("content_preview", Text),
    Column("full_message_body", Text),
    Column("template_id", Text),
    Column("ab_test_id", Text),
    Column("ab_variant", Text),
    Column("links_included", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column(
        "personalization_fields_used",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'::text[]"),
    ),
    Column("ai_model_used", Text),
    Column("prompt_version", Text),
    Column("content_snapshot", JSONB),
    # provider
    Column("provider", Text),
    Column("provider_status", Text),
    Column("metadata", JSONB),
    Column("link_clicked", Text),
    Column("user_agent", Text),
    Column("device_type", Text),
    Column("intent", Text),
    Column("intent_confidence", Double),
    # derived
    flag("converting", default=False),
    Column("conversion_credit", Double),
    Column("touch_number", Integer),
    Column("sequence_position", Integer),
    Column("gap_days", Double),
    Column("lead_timezone", Text),
    Column("local_weekday", SmallInteger, comment="ISO, Monday = 1"),
    Column("local_hour", SmallInteger),
    Column("local_time", Time),
    instant("delivered_at"),
    instant("opened_at"),
    Column("open_count", Integer, nullable=False, server_default="0"),
    instant("human_opened_at"),
    flag("machine_open", default=False),
    instant("clicked_at"),
    Column("click_count", Integer, nullable=False, server_default="0"),
    instant("human_clicked_at"),
    flag("machine_click", default=False),
    instant("replied_at"),
    instant("bounced_at"),
    Column("time_to_open_minutes", Double),
    Column("time_to_click_minutes", Double),
    Column("time_to_reply_minutes", Double),
    # bookkeeping
    instant("created_at", now=True),
    instant("processed_at"),
    part_of("leads", "lead_id"),
    refers_to("campaigns", "campaign_id"),
    refers_to("conversation_threads", "conversation_thread_id", "thread_id"),
    is_channel(),
    one_of("action", Action),
    one_of("time_precision", TimePrecision),
    one_of("intent", ReplyIntent),
    within("local_weekday", 1, 7),
    within("local_hour", 0, 23),
    within("intent_confidence", 0, 1),
    CheckConstraint("length(content_preview) <= 200", name="content_preview_length"),
    # Room for rederive to write its columns on the same page, without touching any index.
    postgresql_with={"fillfactor": "45"},
)
Index(
    "uq_activities_idempotency_key",
    activities.c.client_id,
    activities.c.idempotency_key,
    unique=True,
)
Index(
    "ix_activities_lead_id",
    activities.c.client_id,
    activities.c.lead_id,
    activities.c.occurred_at,
)
Index("ix_activities_occurred_at", activities.c.client_id, activities.c.occurred_at)
Index(
    "ix_activities_campaign_id",
    activities.c.client_id,
    activities.c.campaign_id,
    postgresql_where=activities.c.campaign_id.is_not(None),
)
Index(
    "ix_activities_thread_id",
    activities.c.client_id,
    activities.c.conversation_thread_id,
    postgresql_where=activities.c.conversation_thread_id.is_not(None),
)
Index(
    "ix_activities_provider_message_id",
    activities.c.client_id,
    activities.c.provider_message_id,
    postgresql_where=activities.c.provider_message_id.is_not(None),
)
Index(
    "ix_activities_opt_out",
    activities.c.client_id,
    activities.c.lead_id,
    postgresql_where=text("action IN ('unsubscribed', 'complained')"),
)
Index(
    "ix_activities_decision_id",
    activities.c.client_id,
    activities.c.decision_id,
    postgresql_where=activities.c.decision_id.is_not(None),
)
Index(
    "ix_activities_ab_test_id",
    activities.c.client_id,
    activities.c.ab_test_id,
    postgresql_where=activities.c.ab_test_id.is_not(None),
)

email_events = Table(
    "email_events",
    metadata,
    client_key(),
    uuid_key("event_id"),
    Column("activity_id", Uuid(as_uuid=False), nullable=False),
    Column("lead_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    instant("occurred_at", now=True),
    Column("provider", Text, nullable=False, server_default=""),
    Column("provider_event_id", Text),
    Column("bounce_class", Text),
    flag("reported_machine"),
    Column("clicked_url", Text),
    Column("user_agent", Text),
    Column("email_client", Text),
    Column("device_type", Text),
    Column("os_type", Text),
    Column("open_country", Text),
    Column("raw_payload", JSONB),
    # derived
    flag("is_machine", default=False),
    Column("machine_reason", Text),
    instant("created_at", now=True),
    part_of("activities", "activity_id"),
    part_of("leads", "lead_id"),
    one_of("event_type", EmailEventType),
    CheckConstraint("bounce_class IN ('hard', 'soft')", name="bounce_class_known"),
    CheckConstraint(
        "machine_reason IN ('reported', 'privacy_proxy', 'scanner', 'fast_open', 'fast_click')",
        name="machine_reason_known",
    ),
)
Index(
    "uq_email_events_provider_event_id",
    email_events.c.client_id,
    email_events.c.provider,
    email_events.c.provider_event_id,
    unique=True,
)
Index("ix_email_events_activity_id", email_events.c.client_id, email_events.c.activity_id)
Index(
    "ix_email_events_lead_id",
    email_events.c.client_id,
    email_events.c.lead_id,
    email_events.c.event_type,
)
Index(
    "ix_email_events_opt_out",
    email_events.c.client_id,
    email_events.c.lead_id,
    postgresql_where=text("event_type IN ('unsubscribed', 'complained')"),
)
Index("ix_email_events_occurred_at", email_events.c.client_id, email_events.c.occurred_at)
