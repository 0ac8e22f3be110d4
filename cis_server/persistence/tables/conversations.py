"""Threads, their messages, and replies as they came in."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cis_server.domain.vocabulary import (
    Objection,
    ReplyIntent,
    Sentiment,
    ThreadOutcome,
    ThreadStatus,
)
from cis_server.persistence.tables._columns import (
    client_key,
    flag,
    instant,
    is_channel,
    key,
    metadata,
    one_of,
    part_of,
    refers_to,
    uuid_key,
    within,
)

conversation_threads = Table(
    "conversation_threads",
    metadata,
    client_key(),
    key("thread_id"),
    Column("lead_id", Text, nullable=False),
    Column("campaign_id", Text),
    Column("channel", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="active"),
    Column("outcome", Text),
    instant("outcome_at"),
    Column("outcome_reason", Text),
    flag("escalated_to_human", default=False),
    instant("escalated_at"),
    Column("escalation_reason", Text),
    instant("started_at", now=True),
    # derived
    Column("message_count", Integer, nullable=False, server_default="0"),
    Column("our_message_count", Integer, nullable=False, server_default="0"),
    Column("their_message_count", Integer, nullable=False, server_default="0"),
    instant("last_message_at"),
    instant("last_our_message_at"),
    instant("last_their_message_at"),
    Column("avg_our_response_minutes", Double),
    Column("avg_their_response_minutes", Double),
    # bookkeeping
    instant("created_at", now=True),
    instant("updated_at", now=True),
    part_of("leads", "lead_id"),
    refers_to("campaigns", "campaign_id"),
    is_channel(),
    one_of("status", ThreadStatus),
    one_of("outcome", ThreadOutcome),
)
Index(
    "ix_conversation_threads_lead_id",
    conversation_threads.c.client_id,
    conversation_threads.c.lead_id,
    conversation_threads.c.channel,
)
Index(
    "ix_conversation_threads_started_at",
    conversation_threads.c.client_id,
    conversation_threads.c.started_at,
)
Index(
    "ix_conversation_threads_campaign_id",
    conversation_threads.c.client_id,
    conversation_threads.c.campaign_id,
)
Index(
    "ix_conversation_threads_status",
    conversation_threads.c.client_id,
    conversation_threads.c.status,
    conversation_threads.c.last_message_at,
)

replies = Table(
    "replies",
    metadata,
    client_key(),
    uuid_key("reply_id"),
    Column("idempotency_key", Text),
    Column("lead_id", Text, nullable=False),
    Column("thread_id", Text),
    Column(
        "activity_id",
        Uuid(as_uuid=False),
        comment="the touch answered, when the caller knows it",
    ),
    Column("channel", Text, nullable=False),
    Column("direction", Text, nullable=False, server_default="inbound"),
    Column("subject", Text),
    Column("content", Text),
    instant("received_at", now=True),
    Column("intent", Text),
    Column("intent_confidence", Double),
    Column("objection_type", Text),
    Column("question_extracted", Text),
    Column("sentiment", Text),
    Column("sentiment_score", Double),
    Column("topics_mentioned", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("extracted_data", JSONB),
    instant("classified_at"),
    Column("response_method", Text),
    Column("response_cost", Double),
    instant("scheduled_for"),
    instant("sent_at"),
    Column("sequence_action", Text),
    flag("meeting_created", default=False),
    Column("referral_lead_id", Text),
    flag("admin_review_required", default=False),
    instant("reviewed_at"),
    Column("reviewed_by", Text),
    # derived
    Column("answered_activity_id", Uuid(as_uuid=False)),
    instant("created_at", now=True),
    part_of("leads", "lead_id"),
    refers_to("conversation_threads", "thread_id"),
    is_channel(),
    one_of("intent", ReplyIntent),
    one_of("objection_type", Objection),
    one_of("sentiment", Sentiment),
    within("sentiment_score", -1, 1),
    within("intent_confidence", 0, 1),
    CheckConstraint("direction IN ('inbound', 'outbound')", name="direction_known"),
    CheckConstraint(
        "response_method IN ('template', 'smart_prompt', 'sdk')", name="response_method_known"
    ),
    CheckConstraint(
        "sequence_action IN ('pause', 'stop', 'continue')", name="sequence_action_known"
    ),
)
Index("uq_replies_idempotency_key", replies.c.client_id, replies.c.idempotency_key, unique=True)
Index("ix_replies_lead_id", replies.c.client_id, replies.c.lead_id, replies.c.received_at)
Index("ix_replies_received_at", replies.c.client_id, replies.c.received_at)
Index("ix_replies_thread_id", replies.c.client_id, replies.c.thread_id)

thread_messages = Table(
    "thread_messages",
    metadata,
    client_key(),
    uuid_key("message_id"),
    Column("thread_id", Text, nullable=False),
    Column("activity_id", Uuid(as_uuid=False), comment="ours"),
    Column("reply_id", Uuid(as_uuid=False), comment="theirs"),
    Column("direction", Text, nullable=False),
    Column("content", Text),
    Column("content_preview", Text),
    Column("intent", Text),
    Column("objection_type", Text),
    Column("question_extracted", Text),
    Column("sentiment", Text),
    Column("sentiment_score", Double),
    Column("topics_mentioned", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    instant("sent_at", now=True),
    # derived
    Column("position", Integer),
    Column("response_time_minutes", Double),
    instant("created_at", now=True),
    part_of("conversation_threads", "thread_id"),
    refers_to("activities", "activity_id"),
    refers_to("replies", "reply_id"),
    # Positions swap when a message arrives late, so uniqueness is looked at when all are set.
    UniqueConstraint("client_id", "thread_id", "position", deferrable=True, initially="DEFERRED"),
    one_of("intent", ReplyIntent),
    one_of("objection_type", Objection),
    one_of("sentiment", Sentiment),
    within("sentiment_score", -1, 1),
    CheckConstraint("direction IN ('inbound', 'outbound')", name="direction_known"),
    CheckConstraint("position >= 1", name="position_range"),
    CheckConstraint("length(content_preview) <= 200", name="content_preview_length"),
)
Index("ix_thread_messages_activity_id", thread_messages.c.client_id, thread_messages.c.activity_id)
Index("ix_thread_messages_reply_id", thread_messages.c.client_id, thread_messages.c.reply_id)
