"""Leads, and the pool of persons that leads may be drawn from.

A column marked "derived" is written by `persistence.rederive` alone; what anybody else writes
there is overwritten.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cis_server.domain.vocabulary import (
    ConversionType,
    EmailStatus,
    LeadStatus,
    RejectionReason,
)
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

leads = Table(
    "leads",
    metadata,
    client_key(),
    Column("lead_id", Text, primary_key=True),
    Column("campaign_id", Text),
    # contact
    Column("email", Text),
    Column("email_status", Text, nullable=False, server_default="unknown"),
    Column("phone", Text),
    flag("phone_verified"),
    flag("call_register_listed"),
    Column("linkedin_url", Text),
    Column("personal_email", Text),
    Column("postal_address", Text),
    # person
    Column("first_name", Text),
    Column("last_name", Text),
    Column("title", Text),
    Column("seniority", Text),
    Column("employment_start_date", Date),
    Column("employment_history", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("linkedin_headline", Text),
    Column("person_city", Text),
    Column("person_region", Text),
    Column("person_country", Text),
    Column("timezone", Text, comment="IANA name"),
    # company
    Column("company_name", Text),
    Column("domain", Text),
    Column("industry", Text),
    Column("employee_count", Integer),
    Column("revenue", Double),
    Column("technologies", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("total_funding", Double),
    Column("latest_funding_stage", Text),
    Column("latest_funding_date", Date),
    flag("is_hiring"),
    Column("founded_year", SmallInteger),
    Column("city", Text),
    Column("region", Text),
    Column("country", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # state, as the caller says it
    Column("status", Text, nullable=False, server_default="new"),
    Column("bounce_count", Integer, nullable=False, server_default="0"),
    flag("unsubscribed", default=False),
    flag("do_not_contact", default=False),
    instant("stated_converted_at"),
    instant("sequence_completed_at"),
    Column("rejection_reason", Text),
    Column("rejection_notes", Text),
    instant("rejected_at"),
    Column("objections", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("current_sequence_step", Integer, nullable=False, server_default="0"),
    instant("next_outreach_at"),
    Column("assigned_resources", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # enrichment
    Column("enrichment_source", Text),
    Column("enrichment_confidence", Double),
    Column("enrichment_version", Text),
    instant("enriched_at"),
    # last scoring
    Column("score", SmallInteger),
    Column("tier", Text),
    Column("components", JSONB),
    Column("weights_used", JSONB),
    Column("weights_source", Text),
    Column("weights_version", Text),
    Column("conversion_probability", Double),
    Column("probability_low", Double, comment="5 % quantile"),
    Column("probability_high", Double, comment="95 % quantile"),
    Column("probability_target", Text),
    Column("probability_version", Text, comment="of the propensity model"),
    instant("scored_at"),
    instant("score_as_of"),
    Column("scorer_version", Text),
    Column("components_at_first_touch", JSONB, comment="as before first outreach; written once"),
    # derived
    Column("touch_count", Integer, nullable=False, server_default="0"),
    instant("first_contacted_at"),
    instant("last_contacted_at"),
    Column("first_touch_channel", Text),
    instant("last_opened_at"),
    instant("last_clicked_at"),
    instant("last_replied_at"),
    Column("reply_count", Integer, nullable=False, server_default="0"),
    Column("bounces_seen", Integer, nullable=False, server_default="0"),
    instant("unsubscribed_at"),
    instant("complained_at"),
    instant("converted_at"),
    Column("conversion_type", Text),
    flag("meeting_booked", default=False),
    instant("meeting_booked_at"),
    Column("meeting_id", Text),
    Column("deal_id", Text),
    Column("deal_value", Numeric(14, 2)),
    flag("deal_won", default=False),
    instant("deal_won_at"),
    # bookkeeping
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("deleted_at"),
    of_client(),
    refers_to("campaigns", "campaign_id"),
    short_id("lead_id"),
    one_of("status", LeadStatus),
    one_of("email_status", EmailStatus),
    one_of("rejection_reason", RejectionReason),
    one_of("conversion_type", ConversionType),
    within("score", 0, 100),
    within("conversion_probability", 0, 1),
    within("probability_low", 0, 1),
    within("probability_high", 0, 1),
    within("enrichment_confidence", 0, 1),
    CheckConstraint("tier IN ('dead', 'cold', 'cool', 'warm', 'hot')", name="tier_known"),
    CheckConstraint("employee_count >= 0", name="employee_count_range"),
    CheckConstraint("bounce_count >= 0", name="bounce_count_range"),
    CheckConstraint("jsonb_typeof(attributes) = 'object'", name="attributes_object"),
    CheckConstraint("jsonb_typeof(employment_history) = 'array'", name="employment_history_array"),
)
Index(
    "ix_leads_email",
    leads.c.client_id,
    text("lower(email)"),
    postgresql_where=leads.c.email.is_not(None),
)
Index("ix_leads_campaign_id", leads.c.client_id, leads.c.campaign_id)
Index("ix_leads_status", leads.c.client_id, leads.c.status)
# Rank orders of the leads that may still be contacted; `ListTopLeads` reads along them.
_RANKED = text(
    "score IS NOT NULL AND deleted_at IS NULL AND NOT unsubscribed AND NOT do_not_contact"
    " AND status IN ('new', 'enriched', 'scored', 'in_sequence')"
)
Index(
    "ix_leads_score",
    leads.c.client_id,
    leads.c.score.desc(),
    leads.c.lead_id,
    postgresql_where=_RANKED,
)
Index(
    "ix_leads_probability",
    leads.c.client_id,
    text("coalesce(conversion_probability, -1) DESC"),
    leads.c.score.desc(),
    leads.c.lead_id,
    postgresql_where=_RANKED,
)
Index(
    "ix_leads_converted_at",
    leads.c.client_id,
    leads.c.converted_at,
    postgresql_where=leads.c.converted_at.is_not(None),
)
Index(
    "ix_leads_next_outreach_at",
    leads.c.client_id,
    leads.c.next_outreach_at,
    postgresql_where=leads.c.status == text("'in_sequence'"),
)
Index(
    "ix_leads_closed",
    leads.c.client_id,
    leads.c.lead_id,
    postgresql_where=text(
        "unsubscribed OR do_not_contact OR status = 'unsubscribed'"
        " OR unsubscribed_at IS NOT NULL OR complained_at IS NOT NULL"
    ),
)

lead_pool = Table(
    "lead_pool",
    metadata,
    key("pool_id"),
    Column("provider_person_id", Text, unique=True),
    Column("email", Text, unique=True),
    Column("email_status", Text, nullable=False, server_default="unknown"),
    Column("phone", Text),
    Column("linkedin_url", Text),
    Column("linkedin_headline", Text),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("title", Text),
    Column("seniority", Text),
    Column("departments", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("employment_history", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("current_role_start_date", Date),
    Column("person_city", Text),
    Column("person_region", Text),
    Column("person_country", Text),
    Column("timezone", Text),
    Column("company_name", Text),
    Column("domain", Text),
    Column("industry", Text),
    Column("sub_industry", Text),
    Column("company_description", Text),
    Column("employee_count", Integer),
    Column("revenue", Double),
    Column("revenue_range", Text),
    Column("founded_year", SmallInteger),
    Column("country", Text),
    Column("region", Text),
    Column("city", Text),
    Column("postal_code", Text),
    flag("is_hiring"),
    Column("latest_funding_stage", Text),
    Column("latest_funding_date", Date),
    Column("total_funding", Double),
    Column("technologies", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("keywords", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("pool_status", Text, nullable=False, server_default="available"),
    instant("bounced_at"),
    Column("bounce_reason", Text),
    instant("unsubscribed_at"),
    Column("unsubscribe_reason", Text),
    flag("call_register_listed"),
    Column("enrichment_source", Text),
    instant("enriched_at"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    one_of("email_status", EmailStatus),
    CheckConstraint("email = lower(email)", name="email_lower"),
    CheckConstraint(
        "pool_status IN ('available', 'assigned', 'converted', 'bounced', 'unsubscribed',"
        " 'invalid')",
        name="pool_status_known",
    ),
)

pool_assignments = Table(
    "pool_assignments",
    metadata,
    client_key(),
    key("assignment_id"),
    Column("pool_id", Text, nullable=False),
    Column("lead_id", Text),
    Column("campaign_id", Text),
    Column("status", Text, nullable=False, server_default="active"),
    Column("max_touches", Integer, nullable=False, server_default="10"),
    Column("total_touches", Integer, nullable=False, server_default="0"),
    Column("first_channel", Text),
    instant("cooling_until"),
    instant("assigned_at", now=True),
    instant("released_at"),
    Column("release_reason", Text),
    instant("updated_at", now=True),
    of_client(),
    ForeignKeyConstraint(["pool_id"], ["lead_pool.pool_id"], ondelete="CASCADE"),
    part_of("leads", "lead_id"),
    refers_to("campaigns", "campaign_id"),
    is_channel("first_channel"),
    CheckConstraint(
        "status IN ('active', 'released', 'converted', 'expired')", name="status_known"
    ),
)
Index(
    "uq_pool_assignments_pool_id_active",
    pool_assignments.c.pool_id,
    unique=True,
    postgresql_where=pool_assignments.c.status == text("'active'"),
)
Index("ix_pool_assignments_lead_id", pool_assignments.c.client_id, pool_assignments.c.lead_id)
