"""Meetings, deals and the revenue they bring."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
)

from cis_server.domain.vocabulary import DealStage, LostReason, MeetingOutcome, MeetingType
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

meetings = Table(
    "meetings",
    metadata,
    client_key(),
    key("meeting_id"),
    Column("lead_id", Text, nullable=False),
    Column("campaign_id", Text),
    instant("booked_at", now=True),
    Column("booked_by", Text),
    Column("booking_method", Text),
    instant("scheduled_at"),
    Column("duration_minutes", Integer, nullable=False, server_default="30"),
    Column("meeting_type", Text, nullable=False, server_default="discovery"),
    Column("meeting_link", Text),
    Column("calendar_event_id", Text),
    flag("confirmed", default=False),
    instant("confirmed_at"),
    flag("reminder_sent", default=False),
    instant("reminder_sent_at"),
    flag("showed_up"),
    instant("showed_up_confirmed_at"),
    Column("showed_up_confirmed_by", Text),
    Column("no_show_reason", Text),
    Column("outcome", Text),
    instant("outcome_at"),
    Column("notes", Text),
    Column("next_steps", Text),
    flag("follow_up_scheduled", default=False),
    Column("follow_up_meeting_id", Text),
    Column("rescheduled_count", Integer, nullable=False, server_default="0"),
    instant("original_scheduled_at"),
    Column("external_deal_id", Text),
    flag("is_blind", default=False),
    # derived
    Column("deal_id", Text),
    Column("converting_activity_id", Uuid(as_uuid=False)),
    Column("converting_channel", Text),
    Column("touches_before_booking", Integer),
    Column("days_to_booking", Double),
    # bookkeeping
    instant("created_at", now=True),
    instant("updated_at", now=True),
    part_of("leads", "lead_id"),
    refers_to("campaigns", "campaign_id"),
    one_of("meeting_type", MeetingType),
    one_of("outcome", MeetingOutcome),
    CheckConstraint("booked_by IN ('ai', 'human', 'lead', 'external')", name="booked_by_known"),
    CheckConstraint(
        "showed_up_confirmed_by IN ('webhook', 'manual', 'calendar')",
        name="showed_up_confirmed_by_known",
    ),
    CheckConstraint("rescheduled_count >= 0", name="rescheduled_count_range"),
)
Index("ix_meetings_lead_id", meetings.c.client_id, meetings.c.lead_id, meetings.c.booked_at)
Index("ix_meetings_booked_at", meetings.c.client_id, meetings.c.booked_at)
Index("ix_meetings_scheduled_at", meetings.c.client_id, meetings.c.scheduled_at)
Index("ix_meetings_campaign_id", meetings.c.client_id, meetings.c.campaign_id)

deals = Table(
    "deals",
    metadata,
    client_key(),
    key("deal_id"),
    Column("lead_id", Text, nullable=False),
    Column("meeting_id", Text),
    Column("name", Text, nullable=False, server_default=""),
    Column("value", Numeric(14, 2)),
    Column("currency", Text, nullable=False, server_default="AUD"),
    Column("probability", Double, nullable=False, server_default="50", comment="percent"),
    Column("stage", Text, nullable=False, server_default="qualification"),
    Column("unmapped_stage", Text, comment="the CRM's own name when it could not be mapped"),
    instant("stage_changed_at"),
    instant("opened_at", now=True),
    Column("expected_close_date", Date),
    instant("closed_at"),
    Column("lost_reason", Text),
    Column("lost_notes", Text),
    Column("external_crm", Text),
    Column("external_deal_id", Text),
    instant("external_synced_at"),
    # derived
    flag("won"),
    Column("days_to_close", Double),
    Column("converting_activity_id", Uuid(as_uuid=False)),
    Column("converting_channel", Text),
    Column("first_touch_channel", Text),
    Column("touches_before_deal", Integer),
    # bookkeeping
    instant("created_at", now=True),
    instant("updated_at", now=True),
    part_of("leads", "lead_id"),
    refers_to("meetings", "meeting_id"),
    one_of("stage", DealStage),
    one_of("lost_reason", LostReason),
    within("probability", 0, 100),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_shape"),
)
Index(
    "uq_deals_external",
    deals.c.client_id,
    deals.c.external_crm,
    deals.c.external_deal_id,
    unique=True,
)
Index("ix_deals_lead_id", deals.c.client_id, deals.c.lead_id)
Index("ix_deals_meeting_id", deals.c.client_id, deals.c.meeting_id)
Index("ix_deals_opened_at", deals.c.client_id, deals.c.opened_at)
Index("ix_deals_closed_at", deals.c.client_id, deals.c.closed_at)

deal_stage_history = Table(
    "deal_stage_history",
    metadata,
    client_key(),
    uuid_key("change_id"),
    Column("deal_id", Text, nullable=False),
    Column("from_stage", Text, comment="null for the first stage"),
    Column("to_stage", Text, nullable=False),
    instant("changed_at", now=True),
    Column("changed_by", Text, nullable=False, server_default="system"),
    Column("notes", Text),
    # derived
    Column("days_in_previous_stage", Double),
    instant("created_at", now=True),
    part_of("deals", "deal_id"),
    one_of("from_stage", DealStage),
    one_of("to_stage", DealStage),
)
Index(
    "ix_deal_stage_history_deal_id",
    deal_stage_history.c.client_id,
    deal_stage_history.c.deal_id,
    deal_stage_history.c.changed_at,
)

revenue_attribution = Table(
    "revenue_attribution",
    metadata,
    client_key(),
    Column("deal_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("activity_id", Uuid(as_uuid=False), primary_key=True),
    Column("activity_channel", Text, nullable=False),
    instant("activity_at", now=True),
    Column("credit_share", Double, nullable=False),
    Column("credit_value", Numeric(14, 2)),
    Column("touch_position", Integer, nullable=False),
    Column("total_touches", Integer, nullable=False),
    instant("created_at", now=True),
    part_of("deals", "deal_id"),
    part_of("activities", "activity_id"),
    is_channel("activity_channel"),
    within("credit_share", 0, 1),
    CheckConstraint(
        "model IN ('first_touch', 'last_touch', 'linear', 'time_decay', 'markov')",
        name="model_known",
    ),
)
Index(
    "ix_revenue_attribution_activity_id",
    revenue_attribution.c.client_id,
    revenue_attribution.c.activity_id,
)
