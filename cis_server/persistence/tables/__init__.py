"""Every table, as SQLAlchemy Core."""

from __future__ import annotations

from cis_server.persistence.tables._columns import metadata
from cis_server.persistence.tables.conversations import (
    conversation_threads,
    replies,
    thread_messages,
)
from cis_server.persistence.tables.leads import lead_pool, leads, pool_assignments
from cis_server.persistence.tables.learned import (
    ab_test_assignments,
    ab_test_variants,
    ab_tests,
    access_audit,
    dataset_snapshots,
    decision_log,
    learning_runs,
    model_events,
    models,
    pattern_history,
    pattern_status,
    patterns,
    recommendations,
    rescoring_runs,
)
from cis_server.persistence.tables.operations import (
    dirty_leads,
    global_suppression,
    suppression,
    time_zones,
)
from cis_server.persistence.tables.pipeline import (
    deal_stage_history,
    deals,
    meetings,
    revenue_attribution,
)
from cis_server.persistence.tables.pooling import pool_contributions
from cis_server.persistence.tables.tenancy import (
    campaign_resources,
    campaign_sequences,
    campaigns,
    clients,
    memberships,
    templates,
    users,
)
from cis_server.persistence.tables.touches import activities, email_events
from cis_server.persistence.tables.upkeep import health_checks

__all__ = [
    "ab_test_assignments",
    "ab_test_variants",
    "ab_tests",
    "access_audit",
    "activities",
    "campaign_resources",
    "campaign_sequences",
    "campaigns",
    "clients",
    "conversation_threads",
    "dataset_snapshots",
    "deal_stage_history",
    "deals",
    "decision_log",
    "dirty_leads",
    "email_events",
    "global_suppression",
    "health_checks",
    "lead_pool",
    "leads",
    "learning_runs",
    "meetings",
    "memberships",
    "metadata",
    "model_events",
    "models",
    "pattern_history",
    "pattern_status",
    "patterns",
    "pool_assignments",
    "pool_contributions",
    "recommendations",
    "replies",
    "rescoring_runs",
    "revenue_attribution",
    "suppression",
    "templates",
    "thread_messages",
    "time_zones",
    "users",
]
