"""What was learned, how, and what was decided by it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from cis_server.domain.vocabulary import PatternStatus, PatternType, RunState, RunTrigger
from cis_server.persistence.tables._columns import (
    client_key,
    flag,
    instant,
    key,
    metadata,
    of_client,
    one_of,
    part_of,
    refers_to,
    uuid_key,
    within,
)

_EMPTY = text("'{}'::jsonb")

patterns = Table(
    "patterns",
    metadata,
    client_key(),
    Column("pattern_type", Text, primary_key=True),
    Column("patterns", JSONB, nullable=False),
    Column("sample_size", Integer, nullable=False),
    Column("confidence", Double, nullable=False),
    instant("computed_at", now=True),
    Column("valid_until", instant("valid_until").type, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("run_id", Text),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    of_client(),
    one_of("pattern_type", PatternType),
    within("confidence", 0, 1),
    CheckConstraint("sample_size >= 0", name="sample_size_range"),
)
Index("ix_patterns_valid_until", patterns.c.valid_until)

pattern_history = Table(
    "pattern_history",
    metadata,
    client_key(),
    Column("pattern_type", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("patterns", JSONB, nullable=False),
    Column("sample_size", Integer, nullable=False),
    Column("confidence", Double, nullable=False),
    instant("computed_at", now=True),
    Column("valid_until", instant("valid_until").type, nullable=False),
    Column("run_id", Text),
    Column("reason", Text, nullable=False, server_default="replaced"),
    instant("archived_at", now=True),
    of_client(),
    one_of("pattern_type", PatternType),
    within("confidence", 0, 1),
    CheckConstraint("reason IN ('replaced', 'expired', 'rolled_back')", name="reason_known"),
)

pattern_status = Table(
    "pattern_status",
    metadata,
    client_key(),
    Column("pattern_type", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("sample_size", Integer, nullable=False, server_default="0"),
    Column("run_id", Text),
    instant("ran_at", now=True),
    of_client(),
    one_of("pattern_type", PatternType),
    one_of("status", PatternStatus),
)

models = Table(
    "models",
    metadata,
    client_key(),
    key("model_id"),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="candidate"),
    Column("origin", Text, nullable=False, server_default="learned"),
    Column("parameters", JSONB, nullable=False),
    Column("metrics", JSONB, nullable=False, server_default=_EMPTY),
    Column("gates", JSONB, nullable=False, server_default=_EMPTY),
    Column("lineage", JSONB, nullable=False, server_default=_EMPTY),
    Column("rollout", Double, nullable=False, server_default="1"),
    Column("sample_size", Integer, nullable=False, server_default="0"),
    Column("confidence", Double, nullable=False, server_default="0"),
    instant("as_of"),
    instant("valid_until"),
    Column("run_id", Text),
    Column("parent_id", Text, comment="the live version when it was made"),
    Column("replaced_id", Text, comment="the live version before it, to which a rollback goes"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("promoted_at"),
    Column("promoted_by", Text),
    instant("decided_at"),
    Column("decided_by", Text, comment="who gave it its state; learning when no person did"),
    instant("retired_at"),
    Column("reason", Text, nullable=False, server_default=""),
    of_client(),
    within("rollout", 0, 1),
    within("confidence", 0, 1),
    CheckConstraint("kind IN ('weights', 'propensity')", name="kind_known"),
    CheckConstraint(
        "state IN ('candidate', 'rolling_out', 'live', 'retired', 'rejected', 'rolled_back')",
        name="state_known",
    ),
    CheckConstraint("origin IN ('learned', 'manual', 'pooled')", name="origin_known"),
)
Index(
    "uq_models_version",
    models.c.client_id,
    models.c.kind,
    models.c.version,
    unique=True,
)
Index(
    "uq_models_live",
    models.c.client_id,
    models.c.kind,
    models.c.target,
    unique=True,
    postgresql_where=models.c.state == text("'live'"),
)
Index(
    "uq_models_rolling_out",
    models.c.client_id,
    models.c.kind,
    models.c.target,
    unique=True,
    postgresql_where=models.c.state == text("'rolling_out'"),
)

model_events = Table(
    "model_events",
    metadata,
    client_key(),
    Column("event_number", BigInteger, Identity(always=True), primary_key=True),
    Column("model_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False),
    instant("occurred_at", now=True),
    Column("from_state", Text, comment="null when it was made"),
    Column("to_state", Text, nullable=False),
    Column("rollout", Double, nullable=False, comment="share of leads it serves from then on"),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    of_client(),
    within("rollout", 0, 1),
    comment="every change of a version's state: who, when, why; outlives the version",
)
Index("ix_model_events_model_id", model_events.c.client_id, model_events.c.model_id)

learning_runs = Table(
    "learning_runs",
    metadata,
    client_key(),
    key("run_id"),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("trigger", Text, nullable=False, server_default=RunTrigger.REQUEST.value),
    instant("as_of"),
    Column("options", JSONB, nullable=False, server_default=_EMPTY),
    flag("dry_run", default=False),
    Column("stage", Text, nullable=False, server_default=""),
    Column("fraction", Double, nullable=False, server_default="0"),
    Column("message", Text, nullable=False, server_default=""),
    Column("stages", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("counts", JSONB, nullable=False, server_default=_EMPTY),
    Column("results", JSONB, nullable=False, server_default=_EMPTY),
    Column("snapshot_hash", Text),
    Column("code_version", Text),
    Column("job_id", BigInteger),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("error_code", Text),
    Column("error", Text),
    instant("requested_at", now=True),
    instant("started_at"),
    instant("heartbeat_at"),
    instant("finished_at"),
    of_client(),
    one_of("state", RunState),
    one_of("trigger", RunTrigger),
    within("fraction", 0, 1),
)
Index(
    "uq_learning_runs_under_way",
    learning_runs.c.client_id,
    unique=True,
    postgresql_where=text("state IN ('queued', 'running')"),
)
Index(
    "ix_learning_runs_requested_at",
    learning_runs.c.client_id,
    learning_runs.c.requested_at.desc(),
)

rescoring_runs = Table(
    "rescoring_runs",
    metadata,
    client_key(),
    key("run_id"),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("campaign_id", Text),
    instant("as_of"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("total", BigInteger),
    Column("scored", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("last_lead_id", Text, nullable=False, server_default="", comment="done up to here"),
    Column("moves", JSONB, nullable=False, server_default=_EMPTY),
    Column("model", JSONB, nullable=False, server_default=_EMPTY),
    Column("message", Text, nullable=False, server_default=""),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    instant("requested_at", now=True),
    instant("started_at"),
    instant("heartbeat_at"),
    instant("finished_at"),
    of_client(),
    one_of("state", RunState),
)
Index(
    "uq_rescoring_runs_under_way",
    rescoring_runs.c.client_id,
    unique=True,
    postgresql_where=text("state IN ('queued', 'running')"),
)
Index(
    "ix_rescoring_runs_requested_at",
    rescoring_runs.c.client_id,
    rescoring_runs.c.requested_at.desc(),
)

recommendations = Table(
    "recommendations",
    metadata,
    client_key(),
    key("recommendation_id"),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=_EMPTY),
    Column("expected_conversions", Double),
    Column("expected_low", Double),
    Column("expected_high", Double),
    Column("state", Text, nullable=False, server_default="proposed"),
    Column("run_id", Text),
    Column("decided_by", Text),
    instant("decided_at"),
    Column("decision_reason", Text),
    instant("created_at", now=True),
    of_client(),
    CheckConstraint(
        "kind IN ('prompt_edit', 'step_order', 'gap', 'experiment')", name="kind_known"
    ),
    CheckConstraint("state IN ('proposed', 'accepted', 'rejected', 'expired')", name="state_known"),
)
Index(
    "ix_recommendations_state",
    recommendations.c.client_id,
    recommendations.c.state,
    recommendations.c.created_at.desc(),
)

decision_log = Table(
    "decision_log",
    metadata,
    client_key(),
    key("decision_id"),
    instant("decided_at", now=True),
    Column("kind", Text, nullable=False),
    Column("lead_id", Text),
    Column("choice", Text, nullable=False),
    Column("propensity", Double, nullable=False, server_default="1"),
    Column("options", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("context", JSONB, nullable=False, server_default=_EMPTY),
    Column("model_version", Text, nullable=False, server_default=""),
    of_client(),
    within("propensity", 0, 1),
    CheckConstraint("kind IN ('timing', 'channel', 'content', 'sequence')", name="kind_known"),
)
Index("ix_decision_log_decided_at", decision_log.c.client_id, decision_log.c.decided_at)

ab_tests = Table(
    "ab_tests",
    metadata,
    client_key(),
    key("ab_test_id"),
    Column("campaign_id", Text),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("hypothesis", Text),
    Column("metric", Text, nullable=False, server_default="reply_rate"),
    Column("sample_size_target", Integer),
    Column("split_percentage", Integer, nullable=False, server_default="50"),
    Column("status", Text, nullable=False, server_default="draft"),
    Column("plan", JSONB, nullable=False, server_default=_EMPTY),
    instant("started_at"),
    instant("ended_at"),
    Column("ended_by", Text),
    Column("verdict", Text),
    Column("winner", Text),
    Column("evidence", JSONB),
    Column("created_by", Text),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    of_client(),
    refers_to("campaigns", "campaign_id"),
    within("split_percentage", 1, 99),
    CheckConstraint(
        "metric IN ('reply_rate', 'open_rate', 'click_rate', 'conversion_rate', 'meeting_rate')",
        name="metric_known",
    ),
    CheckConstraint(
        "status IN ('draft', 'running', 'paused', 'completed', 'cancelled')", name="status_known"
    ),
    CheckConstraint(
        "verdict IN ('winner', 'no_difference', 'inconclusive', 'blocked')", name="verdict_known"
    ),
)
Index("ix_ab_tests_campaign_id", ab_tests.c.client_id, ab_tests.c.campaign_id)

ab_test_variants = Table(
    "ab_test_variants",
    metadata,
    client_key(),
    Column("ab_test_id", Text, primary_key=True),
    Column("name", Text, primary_key=True, comment="A, B, control, ..."),
    Column("description", Text),
    Column("template_id", Text),
    Column("subject_line", Text),
    Column("message_body", Text),
    Column("weight", Double, nullable=False, server_default="50"),
    Column("lead_count", Integer, nullable=False, server_default="0"),
    Column("success_count", Integer, nullable=False, server_default="0"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    part_of("ab_tests", "ab_test_id"),
    CheckConstraint("weight > 0", name="weight_range"),
)

ab_test_assignments = Table(
    "ab_test_assignments",
    metadata,
    client_key(),
    Column("ab_test_id", Text, primary_key=True),
    Column("lead_id", Text, primary_key=True),
    Column("variant", Text, nullable=False),
    Column("propensity", Double, nullable=False),
    instant("assigned_at", now=True),
    part_of("ab_tests", "ab_test_id"),
    part_of("leads", "lead_id"),
    within("propensity", 0, 1),
)
Index(
    "ix_ab_test_assignments_lead_id", ab_test_assignments.c.client_id, ab_test_assignments.c.lead_id
)

dataset_snapshots = Table(
    "dataset_snapshots",
    metadata,
    client_key(),
    Column("content_hash", Text, primary_key=True),
    Column("run_id", Text),
    Column("window_start", instant("window_start").type, nullable=False),
    Column("as_of", instant("as_of").type, nullable=False),
    Column("path", Text),
    Column("row_counts", JSONB, nullable=False, server_default=_EMPTY),
    Column("manifest", JSONB, nullable=False, server_default=_EMPTY),
    instant("created_at", now=True),
    instant("expires_at"),
    of_client(),
)

access_audit = Table(
    "access_audit",
    metadata,
    client_key(),
    uuid_key("audit_id"),
    instant("occurred_at", now=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),
    Column("detail", JSONB, nullable=False, server_default=_EMPTY),
)
Index("ix_access_audit_occurred_at", access_audit.c.client_id, access_audit.c.occurred_at)
