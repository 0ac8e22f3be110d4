-- Every table of the first release.
CREATE TABLE access_audit (
    client_id TEXT NOT NULL,
    audit_id UUID DEFAULT gen_random_uuid() NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT DEFAULT '' NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT pk_access_audit PRIMARY KEY (client_id, audit_id)
);
CREATE INDEX ix_access_audit_occurred_at ON access_audit (client_id, occurred_at);

CREATE TABLE clients (
    client_id TEXT NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    tier TEXT,
    subscription_status TEXT DEFAULT 'trialing' NOT NULL,
    credits_remaining INTEGER,
    default_permission_mode TEXT DEFAULT 'co_pilot' NOT NULL,
    timezone TEXT DEFAULT 'Australia/Sydney' NOT NULL,
    icp JSONB DEFAULT '{}'::jsonb NOT NULL,
    competitor_domains TEXT[] DEFAULT '{}'::text[] NOT NULL,
    policy JSONB DEFAULT '{}'::jsonb NOT NULL,
    conversion_sample_count INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_clients PRIMARY KEY (client_id),
    CONSTRAINT ck_clients_client_id_length CHECK (length(client_id) BETWEEN 1 AND 128),
    CONSTRAINT ck_clients_subscription_status_known CHECK (subscription_status IN ('trialing', 'active', 'past_due', 'cancelled', 'paused')),
    CONSTRAINT ck_clients_default_permission_mode_known CHECK (default_permission_mode IN ('autopilot', 'co_pilot', 'manual'))
);
CREATE INDEX ix_clients_subscription_status ON clients (subscription_status) WHERE deleted_at IS NULL;
COMMENT ON COLUMN clients.tier IS 'commercial plan; without effect on learning';

CREATE TABLE dirty_leads (
    client_id TEXT NOT NULL,
    lead_id TEXT NOT NULL,
    queued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_dirty_leads PRIMARY KEY (client_id, lead_id)
);
COMMENT ON TABLE dirty_leads IS 'leads whose events changed since their derived columns were last computed';

CREATE TABLE global_suppression (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT DEFAULT 'manual' NOT NULL,
    source TEXT,
    added_by TEXT,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_global_suppression PRIMARY KEY (kind, value),
    CONSTRAINT ck_global_suppression_kind_known CHECK (kind IN ('email', 'domain', 'phone', 'lead_id')),
    CONSTRAINT ck_global_suppression_reason_known CHECK (reason IN ('unsubscribe', 'bounce', 'complaint', 'legal', 'manual', 'do_not_contact', 'competitor', 'blacklisted', 'spam_trap')),
    CONSTRAINT ck_global_suppression_value_given CHECK (value <> '')
);
COMMENT ON COLUMN global_suppression.value IS 'normalised by the database';

CREATE TABLE lead_pool (
    pool_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    provider_person_id TEXT,
    email TEXT,
    email_status TEXT DEFAULT 'unknown' NOT NULL,
    phone TEXT,
    linkedin_url TEXT,
    linkedin_headline TEXT,
    first_name TEXT,
    last_name TEXT,
    title TEXT,
    seniority TEXT,
    departments TEXT[] DEFAULT '{}'::text[] NOT NULL,
    employment_history JSONB DEFAULT '[]'::jsonb NOT NULL,
    current_role_start_date DATE,
    person_city TEXT,
    person_region TEXT,
    person_country TEXT,
    timezone TEXT,
    company_name TEXT,
    domain TEXT,
    industry TEXT,
    sub_industry TEXT,
    company_description TEXT,
    employee_count INTEGER,
    revenue DOUBLE PRECISION,
    revenue_range TEXT,
    founded_year SMALLINT,
    country TEXT,
    region TEXT,
    city TEXT,
    postal_code TEXT,
    is_hiring BOOLEAN,
    latest_funding_stage TEXT,
    latest_funding_date DATE,
    total_funding DOUBLE PRECISION,
    technologies TEXT[] DEFAULT '{}'::text[] NOT NULL,
    keywords TEXT[] DEFAULT '{}'::text[] NOT NULL,
    pool_status TEXT DEFAULT 'available' NOT NULL,
    bounced_at TIMESTAMP WITH TIME ZONE,
    bounce_reason TEXT,
    unsubscribed_at TIMESTAMP WITH TIME ZONE,
    unsubscribe_reason TEXT,
    call_register_listed BOOLEAN,
    enrichment_source TEXT,
    enriched_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_lead_pool PRIMARY KEY (pool_id),
    CONSTRAINT ck_lead_pool_email_status_known CHECK (email_status IN ('unknown', 'guessed', 'catch_all', 'verified', 'invalid')),
    CONSTRAINT ck_lead_pool_email_lower CHECK (email = lower(email)),
    CONSTRAINT ck_lead_pool_pool_status_known CHECK (pool_status IN ('available', 'assigned', 'converted', 'bounced', 'unsubscribed', 'invalid')),
    CONSTRAINT uq_lead_pool_provider_person_id UNIQUE (provider_person_id),
    CONSTRAINT uq_lead_pool_email UNIQUE (email)
);

CREATE TABLE time_zones (
    name TEXT NOT NULL,
    CONSTRAINT pk_time_zones PRIMARY KEY (name)
);
COMMENT ON TABLE time_zones IS 'IANA names this server knows; a zone that is not here counts as unknown';

CREATE TABLE users (
    user_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    email TEXT NOT NULL,
    full_name TEXT,
    timezone TEXT DEFAULT 'Australia/Sydney' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (user_id),
    CONSTRAINT ck_users_email_lower CHECK (email = lower(email)),
    CONSTRAINT uq_users_email UNIQUE (email)
);

CREATE TABLE campaigns (
    client_id TEXT NOT NULL,
    campaign_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    permission_mode TEXT,
    icp JSONB,
    allocation JSONB DEFAULT '{}'::jsonb NOT NULL,
    start_date DATE,
    end_date DATE,
    daily_limit INTEGER DEFAULT '50' NOT NULL,
    timezone TEXT,
    work_hours_start TIME WITHOUT TIME ZONE DEFAULT '09:00'::time NOT NULL,
    work_hours_end TIME WITHOUT TIME ZONE DEFAULT '17:00'::time NOT NULL,
    work_days SMALLINT[] DEFAULT '{1,2,3,4,5}'::smallint[] NOT NULL,
    sequence_steps INTEGER DEFAULT '5' NOT NULL,
    sequence_delay_days INTEGER DEFAULT '3' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_campaigns PRIMARY KEY (client_id, campaign_id),
    CONSTRAINT fk_campaigns_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_campaigns_campaign_id_length CHECK (length(campaign_id) BETWEEN 1 AND 128),
    CONSTRAINT ck_campaigns_daily_limit_range CHECK (daily_limit BETWEEN 1 AND 500),
    CONSTRAINT ck_campaigns_status_known CHECK (status IN ('draft', 'pending_approval', 'approved', 'active', 'paused', 'completed')),
    CONSTRAINT ck_campaigns_permission_mode_known CHECK (permission_mode IN ('autopilot', 'co_pilot', 'manual')),
    CONSTRAINT ck_campaigns_work_days_iso CHECK (work_days <@ '{1,2,3,4,5,6,7}'::smallint[])
);
COMMENT ON COLUMN campaigns.icp IS 'overrides the client''s profile when set';
COMMENT ON COLUMN campaigns.allocation IS 'channel -> percent of touches; empty = unrestricted, else 100 in all';
COMMENT ON COLUMN campaigns.work_days IS 'ISO weekdays, Monday = 1';

CREATE TABLE dataset_snapshots (
    client_id TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    run_id TEXT,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    path TEXT,
    row_counts JSONB DEFAULT '{}'::jsonb NOT NULL,
    manifest JSONB DEFAULT '{}'::jsonb NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_dataset_snapshots PRIMARY KEY (client_id, content_hash),
    CONSTRAINT fk_dataset_snapshots_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE
);

CREATE TABLE decision_log (
    client_id TEXT NOT NULL,
    decision_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    kind TEXT NOT NULL,
    lead_id TEXT,
    choice TEXT NOT NULL,
    propensity DOUBLE PRECISION DEFAULT '1' NOT NULL,
    options JSONB DEFAULT '[]'::jsonb NOT NULL,
    context JSONB DEFAULT '{}'::jsonb NOT NULL,
    model_version TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_decision_log PRIMARY KEY (client_id, decision_id),
    CONSTRAINT fk_decision_log_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_decision_log_propensity_range CHECK (propensity BETWEEN 0 AND 1),
    CONSTRAINT ck_decision_log_kind_known CHECK (kind IN ('timing', 'channel', 'content', 'sequence'))
);
CREATE INDEX ix_decision_log_decided_at ON decision_log (client_id, decided_at);

CREATE TABLE health_checks (
    client_id TEXT NOT NULL,
    checked_on DATE NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    warnings JSONB DEFAULT '[]'::jsonb NOT NULL,
    warning_count INTEGER DEFAULT '0' NOT NULL,
    high_count INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT pk_health_checks PRIMARY KEY (client_id, checked_on),
    CONSTRAINT ck_health_checks_high_count_range CHECK (high_count BETWEEN 0 AND warning_count),
    CONSTRAINT fk_health_checks_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE
);
COMMENT ON COLUMN health_checks.checked_on IS 'in UTC; the last check of a day stays';

CREATE TABLE learning_runs (
    client_id TEXT NOT NULL,
    run_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    trigger TEXT DEFAULT 'request' NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE,
    options JSONB DEFAULT '{}'::jsonb NOT NULL,
    dry_run BOOLEAN DEFAULT false NOT NULL,
    stage TEXT DEFAULT '' NOT NULL,
    fraction DOUBLE PRECISION DEFAULT '0' NOT NULL,
    message TEXT DEFAULT '' NOT NULL,
    stages JSONB DEFAULT '[]'::jsonb NOT NULL,
    counts JSONB DEFAULT '{}'::jsonb NOT NULL,
    results JSONB DEFAULT '{}'::jsonb NOT NULL,
    snapshot_hash TEXT,
    code_version TEXT,
    job_id BIGINT,
    attempts SMALLINT DEFAULT '0' NOT NULL,
    error_code TEXT,
    error TEXT,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    heartbeat_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_learning_runs PRIMARY KEY (client_id, run_id),
    CONSTRAINT fk_learning_runs_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_learning_runs_state_known CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    CONSTRAINT ck_learning_runs_trigger_known CHECK (trigger IN ('request', 'schedule', 'backfill')),
    CONSTRAINT ck_learning_runs_fraction_range CHECK (fraction BETWEEN 0 AND 1)
);
CREATE INDEX ix_learning_runs_requested_at ON learning_runs (client_id, requested_at DESC);
CREATE UNIQUE INDEX uq_learning_runs_under_way ON learning_runs (client_id) WHERE state IN ('queued', 'running');

CREATE TABLE rescoring_runs (
    client_id TEXT NOT NULL,
    run_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    campaign_id TEXT,
    as_of TIMESTAMP WITH TIME ZONE,
    reason TEXT DEFAULT '' NOT NULL,
    total BIGINT,
    scored BIGINT DEFAULT '0' NOT NULL,
    failed BIGINT DEFAULT '0' NOT NULL,
    last_lead_id TEXT DEFAULT '' NOT NULL,
    moves JSONB DEFAULT '{}'::jsonb NOT NULL,
    model JSONB DEFAULT '{}'::jsonb NOT NULL,
    message TEXT DEFAULT '' NOT NULL,
    attempts SMALLINT DEFAULT '0' NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    heartbeat_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_rescoring_runs PRIMARY KEY (client_id, run_id),
    CONSTRAINT fk_rescoring_runs_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_rescoring_runs_state_known CHECK (state IN ('queued', 'running', 'succeeded', 'failed'))
);
COMMENT ON COLUMN rescoring_runs.last_lead_id IS 'done up to here';
CREATE INDEX ix_rescoring_runs_requested_at ON rescoring_runs (client_id, requested_at DESC);
CREATE UNIQUE INDEX uq_rescoring_runs_under_way ON rescoring_runs (client_id) WHERE state IN ('queued', 'running');

CREATE TABLE memberships (
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT DEFAULT 'member' NOT NULL,
    invited_by TEXT,
    invited_email TEXT,
    accepted_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_memberships PRIMARY KEY (client_id, user_id),
    CONSTRAINT fk_memberships_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT fk_memberships_user_id FOREIGN KEY(user_id) REFERENCES users (user_id) ON DELETE CASCADE,
    CONSTRAINT ck_memberships_role_known CHECK (role IN ('owner', 'admin', 'member', 'viewer'))
);
CREATE INDEX ix_memberships_user_id_live ON memberships (user_id) WHERE deleted_at IS NULL AND accepted_at IS NOT NULL;

CREATE TABLE model_events (
    client_id TEXT NOT NULL,
    event_number BIGINT GENERATED ALWAYS AS IDENTITY,
    model_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT DEFAULT '' NOT NULL,
    version INTEGER NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    rollout DOUBLE PRECISION NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_model_events PRIMARY KEY (client_id, event_number),
    CONSTRAINT fk_model_events_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_model_events_rollout_range CHECK (rollout BETWEEN 0 AND 1)
);
COMMENT ON TABLE model_events IS 'every change of a version''s state: who, when, why; outlives the version';
COMMENT ON COLUMN model_events.from_state IS 'null when it was made';
COMMENT ON COLUMN model_events.rollout IS 'share of leads it serves from then on';
CREATE INDEX ix_model_events_model_id ON model_events (client_id, model_id);

CREATE TABLE models (
    client_id TEXT NOT NULL,
    model_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    kind TEXT NOT NULL,
    target TEXT DEFAULT '' NOT NULL,
    version INTEGER NOT NULL,
    state TEXT DEFAULT 'candidate' NOT NULL,
    origin TEXT DEFAULT 'learned' NOT NULL,
    parameters JSONB NOT NULL,
    metrics JSONB DEFAULT '{}'::jsonb NOT NULL,
    gates JSONB DEFAULT '{}'::jsonb NOT NULL,
    lineage JSONB DEFAULT '{}'::jsonb NOT NULL,
    rollout DOUBLE PRECISION DEFAULT '1' NOT NULL,
    sample_size INTEGER DEFAULT '0' NOT NULL,
    confidence DOUBLE PRECISION DEFAULT '0' NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE,
    valid_until TIMESTAMP WITH TIME ZONE,
    run_id TEXT,
    parent_id TEXT,
    replaced_id TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    promoted_at TIMESTAMP WITH TIME ZONE,
    promoted_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    decided_by TEXT,
    retired_at TIMESTAMP WITH TIME ZONE,
    reason TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (client_id, model_id),
    CONSTRAINT fk_models_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_models_rollout_range CHECK (rollout BETWEEN 0 AND 1),
    CONSTRAINT ck_models_confidence_range CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT ck_models_kind_known CHECK (kind IN ('weights', 'propensity')),
    CONSTRAINT ck_models_state_known CHECK (state IN ('candidate', 'rolling_out', 'live', 'retired', 'rejected', 'rolled_back')),
    CONSTRAINT ck_models_origin_known CHECK (origin IN ('learned', 'manual', 'pooled'))
);
CREATE UNIQUE INDEX uq_models_live ON models (client_id, kind, target) WHERE state = 'live';
CREATE UNIQUE INDEX uq_models_rolling_out ON models (client_id, kind, target) WHERE state = 'rolling_out';
CREATE UNIQUE INDEX uq_models_version ON models (client_id, kind, version);
COMMENT ON COLUMN models.parent_id IS 'the live version when it was made';
COMMENT ON COLUMN models.replaced_id IS 'the live version before it, to which a rollback goes';
COMMENT ON COLUMN models.decided_by IS 'who gave it its state; learning when no person did';

CREATE TABLE pattern_history (
    client_id TEXT NOT NULL,
    pattern_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    patterns JSONB NOT NULL,
    sample_size INTEGER NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
    run_id TEXT,
    reason TEXT DEFAULT 'replaced' NOT NULL,
    archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pattern_history PRIMARY KEY (client_id, pattern_type, version),
    CONSTRAINT fk_pattern_history_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_pattern_history_pattern_type_known CHECK (pattern_type IN ('who', 'what', 'when', 'how', 'funnel', 'conversation')),
    CONSTRAINT ck_pattern_history_confidence_range CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT ck_pattern_history_reason_known CHECK (reason IN ('replaced', 'expired', 'rolled_back'))
);

CREATE TABLE pattern_status (
    client_id TEXT NOT NULL,
    pattern_type TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    sample_size INTEGER DEFAULT '0' NOT NULL,
    run_id TEXT,
    ran_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pattern_status PRIMARY KEY (client_id, pattern_type),
    CONSTRAINT fk_pattern_status_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_pattern_status_pattern_type_known CHECK (pattern_type IN ('who', 'what', 'when', 'how', 'funnel', 'conversation')),
    CONSTRAINT ck_pattern_status_status_known CHECK (status IN ('ok', 'insufficient_data', 'error'))
);

CREATE TABLE patterns (
    client_id TEXT NOT NULL,
    pattern_type TEXT NOT NULL,
    patterns JSONB NOT NULL,
    sample_size INTEGER NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    run_id TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_patterns PRIMARY KEY (client_id, pattern_type),
    CONSTRAINT fk_patterns_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_patterns_pattern_type_known CHECK (pattern_type IN ('who', 'what', 'when', 'how', 'funnel', 'conversation')),
    CONSTRAINT ck_patterns_confidence_range CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT ck_patterns_sample_size_range CHECK (sample_size >= 0)
);
CREATE INDEX ix_patterns_valid_until ON patterns (valid_until);

CREATE TABLE pool_contributions (
    client_id TEXT NOT NULL,
    target TEXT NOT NULL,
    contribution JSONB NOT NULL,
    leads INTEGER NOT NULL,
    positives INTEGER NOT NULL,
    run_id TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pool_contributions PRIMARY KEY (client_id, target),
    CONSTRAINT fk_pool_contributions_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_pool_contributions_positives_range CHECK (positives BETWEEN 0 AND leads)
);
COMMENT ON COLUMN pool_contributions.contribution IS 'coefficients and their information';

CREATE TABLE recommendations (
    client_id TEXT NOT NULL,
    recommendation_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    expected_conversions DOUBLE PRECISION,
    expected_low DOUBLE PRECISION,
    expected_high DOUBLE PRECISION,
    state TEXT DEFAULT 'proposed' NOT NULL,
    run_id TEXT,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    decision_reason TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_recommendations PRIMARY KEY (client_id, recommendation_id),
    CONSTRAINT fk_recommendations_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_recommendations_kind_known CHECK (kind IN ('prompt_edit', 'step_order', 'gap', 'experiment')),
    CONSTRAINT ck_recommendations_state_known CHECK (state IN ('proposed', 'accepted', 'rejected', 'expired'))
);
CREATE INDEX ix_recommendations_state ON recommendations (client_id, state, created_at DESC);

CREATE TABLE suppression (
    client_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT DEFAULT 'manual' NOT NULL,
    source TEXT,
    added_by TEXT,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_suppression PRIMARY KEY (client_id, kind, value),
    CONSTRAINT fk_suppression_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT ck_suppression_kind_known CHECK (kind IN ('email', 'domain', 'phone', 'lead_id')),
    CONSTRAINT ck_suppression_reason_known CHECK (reason IN ('unsubscribe', 'bounce', 'complaint', 'legal', 'manual', 'do_not_contact', 'competitor', 'blacklisted', 'spam_trap')),
    CONSTRAINT ck_suppression_value_given CHECK (value <> '')
);
COMMENT ON COLUMN suppression.value IS 'normalised by the database';

CREATE TABLE ab_tests (
    client_id TEXT NOT NULL,
    ab_test_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    campaign_id TEXT,
    name TEXT NOT NULL,
    description TEXT,
    hypothesis TEXT,
    metric TEXT DEFAULT 'reply_rate' NOT NULL,
    sample_size_target INTEGER,
    split_percentage INTEGER DEFAULT '50' NOT NULL,
    status TEXT DEFAULT 'draft' NOT NULL,
    plan JSONB DEFAULT '{}'::jsonb NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    ended_by TEXT,
    verdict TEXT,
    winner TEXT,
    evidence JSONB,
    created_by TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ab_tests PRIMARY KEY (client_id, ab_test_id),
    CONSTRAINT fk_ab_tests_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT fk_ab_tests_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT ck_ab_tests_split_percentage_range CHECK (split_percentage BETWEEN 1 AND 99),
    CONSTRAINT ck_ab_tests_metric_known CHECK (metric IN ('reply_rate', 'open_rate', 'click_rate', 'conversion_rate', 'meeting_rate')),
    CONSTRAINT ck_ab_tests_status_known CHECK (status IN ('draft', 'running', 'paused', 'completed', 'cancelled')),
    CONSTRAINT ck_ab_tests_verdict_known CHECK (verdict IN ('winner', 'no_difference', 'inconclusive', 'blocked'))
);
CREATE INDEX ix_ab_tests_campaign_id ON ab_tests (client_id, campaign_id);

CREATE TABLE campaign_resources (
    client_id TEXT NOT NULL,
    resource_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    campaign_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    value TEXT NOT NULL,
    name TEXT,
    daily_limit INTEGER,
    daily_used INTEGER DEFAULT '0' NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    last_reset_at TIMESTAMP WITH TIME ZONE,
    is_active BOOLEAN DEFAULT true NOT NULL,
    is_warmed BOOLEAN DEFAULT false NOT NULL,
    usage_count INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_campaign_resources PRIMARY KEY (client_id, resource_id),
    CONSTRAINT fk_campaign_resources_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE CASCADE,
    CONSTRAINT ck_campaign_resources_channel_shape CHECK (channel ~ '^[a-z][a-z0-9_]{0,31}$')
);
CREATE UNIQUE INDEX uq_campaign_resources_value ON campaign_resources (client_id, campaign_id, channel, value);
COMMENT ON COLUMN campaign_resources.value IS 'sender address, seat or number';

CREATE TABLE campaign_sequences (
    client_id TEXT NOT NULL,
    campaign_id TEXT NOT NULL,
    step_number INTEGER NOT NULL,
    channel TEXT NOT NULL,
    delay_days DOUBLE PRECISION DEFAULT '3' NOT NULL,
    template_id TEXT,
    subject_template TEXT,
    body_template TEXT,
    skip_if_replied BOOLEAN DEFAULT true NOT NULL,
    skip_if_bounced BOOLEAN DEFAULT true NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_campaign_sequences PRIMARY KEY (client_id, campaign_id, step_number),
    CONSTRAINT fk_campaign_sequences_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE CASCADE,
    CONSTRAINT ck_campaign_sequences_channel_shape CHECK (channel ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT ck_campaign_sequences_step_number_range CHECK (step_number >= 1),
    CONSTRAINT ck_campaign_sequences_delay_days_range CHECK (delay_days >= 0)
);

CREATE TABLE leads (
    client_id TEXT NOT NULL,
    lead_id TEXT NOT NULL,
    campaign_id TEXT,
    email TEXT,
    email_status TEXT DEFAULT 'unknown' NOT NULL,
    phone TEXT,
    phone_verified BOOLEAN,
    call_register_listed BOOLEAN,
    linkedin_url TEXT,
    personal_email TEXT,
    postal_address TEXT,
    first_name TEXT,
    last_name TEXT,
    title TEXT,
    seniority TEXT,
    employment_start_date DATE,
    employment_history JSONB DEFAULT '[]'::jsonb NOT NULL,
    linkedin_headline TEXT,
    person_city TEXT,
    person_region TEXT,
    person_country TEXT,
    timezone TEXT,
    company_name TEXT,
    domain TEXT,
    industry TEXT,
    employee_count INTEGER,
    revenue DOUBLE PRECISION,
    technologies TEXT[] DEFAULT '{}'::text[] NOT NULL,
    total_funding DOUBLE PRECISION,
    latest_funding_stage TEXT,
    latest_funding_date DATE,
    is_hiring BOOLEAN,
    founded_year SMALLINT,
    city TEXT,
    region TEXT,
    country TEXT,
    attributes JSONB DEFAULT '{}'::jsonb NOT NULL,
    status TEXT DEFAULT 'new' NOT NULL,
    bounce_count INTEGER DEFAULT '0' NOT NULL,
    unsubscribed BOOLEAN DEFAULT false NOT NULL,
    do_not_contact BOOLEAN DEFAULT false NOT NULL,
    stated_converted_at TIMESTAMP WITH TIME ZONE,
    sequence_completed_at TIMESTAMP WITH TIME ZONE,
    rejection_reason TEXT,
    rejection_notes TEXT,
    rejected_at TIMESTAMP WITH TIME ZONE,
    objections TEXT[] DEFAULT '{}'::text[] NOT NULL,
    current_sequence_step INTEGER DEFAULT '0' NOT NULL,
    next_outreach_at TIMESTAMP WITH TIME ZONE,
    assigned_resources JSONB DEFAULT '{}'::jsonb NOT NULL,
    enrichment_source TEXT,
    enrichment_confidence DOUBLE PRECISION,
    enrichment_version TEXT,
    enriched_at TIMESTAMP WITH TIME ZONE,
    score SMALLINT,
    tier TEXT,
    components JSONB,
    weights_used JSONB,
    weights_source TEXT,
    weights_version TEXT,
    conversion_probability DOUBLE PRECISION,
    probability_low DOUBLE PRECISION,
    probability_high DOUBLE PRECISION,
    probability_target TEXT,
    probability_version TEXT,
    scored_at TIMESTAMP WITH TIME ZONE,
    score_as_of TIMESTAMP WITH TIME ZONE,
    scorer_version TEXT,
    components_at_first_touch JSONB,
    touch_count INTEGER DEFAULT '0' NOT NULL,
    first_contacted_at TIMESTAMP WITH TIME ZONE,
    last_contacted_at TIMESTAMP WITH TIME ZONE,
    first_touch_channel TEXT,
    last_opened_at TIMESTAMP WITH TIME ZONE,
    last_clicked_at TIMESTAMP WITH TIME ZONE,
    last_replied_at TIMESTAMP WITH TIME ZONE,
    reply_count INTEGER DEFAULT '0' NOT NULL,
    bounces_seen INTEGER DEFAULT '0' NOT NULL,
    unsubscribed_at TIMESTAMP WITH TIME ZONE,
    complained_at TIMESTAMP WITH TIME ZONE,
    converted_at TIMESTAMP WITH TIME ZONE,
    conversion_type TEXT,
    meeting_booked BOOLEAN DEFAULT false NOT NULL,
    meeting_booked_at TIMESTAMP WITH TIME ZONE,
    meeting_id TEXT,
    deal_id TEXT,
    deal_value NUMERIC(14, 2),
    deal_won BOOLEAN DEFAULT false NOT NULL,
    deal_won_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_leads PRIMARY KEY (client_id, lead_id),
    CONSTRAINT fk_leads_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT fk_leads_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT ck_leads_lead_id_length CHECK (length(lead_id) BETWEEN 1 AND 128),
    CONSTRAINT ck_leads_status_known CHECK (status IN ('new', 'enriched', 'scored', 'in_sequence', 'meeting_booked', 'converted', 'not_interested', 'exhausted', 'unsubscribed', 'bounced')),
    CONSTRAINT ck_leads_email_status_known CHECK (email_status IN ('unknown', 'guessed', 'catch_all', 'verified', 'invalid')),
    CONSTRAINT ck_leads_rejection_reason_known CHECK (rejection_reason IN ('timing_not_now', 'budget_constraints', 'using_competitor', 'not_decision_maker', 'no_need', 'bad_experience', 'too_busy', 'not_interested_generic', 'do_not_contact', 'wrong_contact', 'company_policy', 'other')),
    CONSTRAINT ck_leads_conversion_type_known CHECK (conversion_type IN ('meeting_booked', 'deal_won', 'status')),
    CONSTRAINT ck_leads_score_range CHECK (score BETWEEN 0 AND 100),
    CONSTRAINT ck_leads_conversion_probability_range CHECK (conversion_probability BETWEEN 0 AND 1),
    CONSTRAINT ck_leads_probability_low_range CHECK (probability_low BETWEEN 0 AND 1),
    CONSTRAINT ck_leads_probability_high_range CHECK (probability_high BETWEEN 0 AND 1),
    CONSTRAINT ck_leads_enrichment_confidence_range CHECK (enrichment_confidence BETWEEN 0 AND 1),
    CONSTRAINT ck_leads_tier_known CHECK (tier IN ('dead', 'cold', 'cool', 'warm', 'hot')),
    CONSTRAINT ck_leads_employee_count_range CHECK (employee_count >= 0),
    CONSTRAINT ck_leads_bounce_count_range CHECK (bounce_count >= 0),
    CONSTRAINT ck_leads_attributes_object CHECK (jsonb_typeof(attributes) = 'object'),
    CONSTRAINT ck_leads_employment_history_array CHECK (jsonb_typeof(employment_history) = 'array')
);
CREATE INDEX ix_leads_campaign_id ON leads (client_id, campaign_id);
CREATE INDEX ix_leads_closed ON leads (client_id, lead_id) WHERE unsubscribed OR do_not_contact OR status = 'unsubscribed' OR unsubscribed_at IS NOT NULL OR complained_at IS NOT NULL;
CREATE INDEX ix_leads_converted_at ON leads (client_id, converted_at) WHERE converted_at IS NOT NULL;
CREATE INDEX ix_leads_email ON leads (client_id, lower(email)) WHERE email IS NOT NULL;
CREATE INDEX ix_leads_next_outreach_at ON leads (client_id, next_outreach_at) WHERE status = 'in_sequence';
CREATE INDEX ix_leads_probability ON leads (client_id, coalesce(conversion_probability, -1) DESC, score DESC, lead_id) WHERE score IS NOT NULL AND deleted_at IS NULL AND NOT unsubscribed AND NOT do_not_contact AND status IN ('new', 'enriched', 'scored', 'in_sequence');
CREATE INDEX ix_leads_score ON leads (client_id, score DESC, lead_id) WHERE score IS NOT NULL AND deleted_at IS NULL AND NOT unsubscribed AND NOT do_not_contact AND status IN ('new', 'enriched', 'scored', 'in_sequence');
CREATE INDEX ix_leads_status ON leads (client_id, status);
COMMENT ON COLUMN leads.timezone IS 'IANA name';
COMMENT ON COLUMN leads.probability_low IS '5 % quantile';
COMMENT ON COLUMN leads.probability_high IS '95 % quantile';
COMMENT ON COLUMN leads.probability_version IS 'of the propensity model';
COMMENT ON COLUMN leads.components_at_first_touch IS 'as before first outreach; written once';

CREATE TABLE templates (
    client_id TEXT NOT NULL,
    template_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    campaign_id TEXT,
    name TEXT DEFAULT '' NOT NULL,
    channel TEXT NOT NULL,
    subject TEXT,
    body TEXT,
    angle TEXT,
    cta_type TEXT,
    version INTEGER DEFAULT '1' NOT NULL,
    is_active BOOLEAN DEFAULT true NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_templates PRIMARY KEY (client_id, template_id),
    CONSTRAINT fk_templates_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT fk_templates_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT ck_templates_channel_shape CHECK (channel ~ '^[a-z][a-z0-9_]{0,31}$')
);
CREATE INDEX ix_templates_campaign_id ON templates (client_id, campaign_id);

CREATE TABLE ab_test_variants (
    client_id TEXT NOT NULL,
    ab_test_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    template_id TEXT,
    subject_line TEXT,
    message_body TEXT,
    weight DOUBLE PRECISION DEFAULT '50' NOT NULL,
    lead_count INTEGER DEFAULT '0' NOT NULL,
    success_count INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ab_test_variants PRIMARY KEY (client_id, ab_test_id, name),
    CONSTRAINT fk_ab_test_variants_ab_test_id FOREIGN KEY(client_id, ab_test_id) REFERENCES ab_tests (client_id, ab_test_id) ON DELETE CASCADE,
    CONSTRAINT ck_ab_test_variants_weight_range CHECK (weight > 0)
);
COMMENT ON COLUMN ab_test_variants.name IS 'A, B, control, ...';

CREATE TABLE ab_test_assignments (
    client_id TEXT NOT NULL,
    ab_test_id TEXT NOT NULL,
    lead_id TEXT NOT NULL,
    variant TEXT NOT NULL,
    propensity DOUBLE PRECISION NOT NULL,
    assigned_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ab_test_assignments PRIMARY KEY (client_id, ab_test_id, lead_id),
    CONSTRAINT fk_ab_test_assignments_ab_test_id FOREIGN KEY(client_id, ab_test_id) REFERENCES ab_tests (client_id, ab_test_id) ON DELETE CASCADE,
    CONSTRAINT fk_ab_test_assignments_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT ck_ab_test_assignments_propensity_range CHECK (propensity BETWEEN 0 AND 1)
);
CREATE INDEX ix_ab_test_assignments_lead_id ON ab_test_assignments (client_id, lead_id);

CREATE TABLE conversation_threads (
    client_id TEXT NOT NULL,
    thread_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    lead_id TEXT NOT NULL,
    campaign_id TEXT,
    channel TEXT NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    outcome TEXT,
    outcome_at TIMESTAMP WITH TIME ZONE,
    outcome_reason TEXT,
    escalated_to_human BOOLEAN DEFAULT false NOT NULL,
    escalated_at TIMESTAMP WITH TIME ZONE,
    escalation_reason TEXT,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    message_count INTEGER DEFAULT '0' NOT NULL,
    our_message_count INTEGER DEFAULT '0' NOT NULL,
    their_message_count INTEGER DEFAULT '0' NOT NULL,
    last_message_at TIMESTAMP WITH TIME ZONE,
    last_our_message_at TIMESTAMP WITH TIME ZONE,
    last_their_message_at TIMESTAMP WITH TIME ZONE,
    avg_our_response_minutes DOUBLE PRECISION,
    avg_their_response_minutes DOUBLE PRECISION,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_conversation_threads PRIMARY KEY (client_id, thread_id),
    CONSTRAINT fk_conversation_threads_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT fk_conversation_threads_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT ck_conversation_threads_channel_shape CHECK (channel ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT ck_conversation_threads_status_known CHECK (status IN ('active', 'resolved', 'stale', 'converted', 'dead')),
    CONSTRAINT ck_conversation_threads_outcome_known CHECK (outcome IN ('converted', 'rejected', 'no_response', 'ongoing', 'meeting_booked', 'referral', 'future_interest'))
);
CREATE INDEX ix_conversation_threads_campaign_id ON conversation_threads (client_id, campaign_id);
CREATE INDEX ix_conversation_threads_lead_id ON conversation_threads (client_id, lead_id, channel);
CREATE INDEX ix_conversation_threads_started_at ON conversation_threads (client_id, started_at);
CREATE INDEX ix_conversation_threads_status ON conversation_threads (client_id, status, last_message_at);

CREATE TABLE meetings (
    client_id TEXT NOT NULL,
    meeting_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    lead_id TEXT NOT NULL,
    campaign_id TEXT,
    booked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    booked_by TEXT,
    booking_method TEXT,
    scheduled_at TIMESTAMP WITH TIME ZONE,
    duration_minutes INTEGER DEFAULT '30' NOT NULL,
    meeting_type TEXT DEFAULT 'discovery' NOT NULL,
    meeting_link TEXT,
    calendar_event_id TEXT,
    confirmed BOOLEAN DEFAULT false NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    reminder_sent BOOLEAN DEFAULT false NOT NULL,
    reminder_sent_at TIMESTAMP WITH TIME ZONE,
    showed_up BOOLEAN,
    showed_up_confirmed_at TIMESTAMP WITH TIME ZONE,
    showed_up_confirmed_by TEXT,
    no_show_reason TEXT,
    outcome TEXT,
    outcome_at TIMESTAMP WITH TIME ZONE,
    notes TEXT,
    next_steps TEXT,
    follow_up_scheduled BOOLEAN DEFAULT false NOT NULL,
    follow_up_meeting_id TEXT,
    rescheduled_count INTEGER DEFAULT '0' NOT NULL,
    original_scheduled_at TIMESTAMP WITH TIME ZONE,
    external_deal_id TEXT,
    is_blind BOOLEAN DEFAULT false NOT NULL,
    deal_id TEXT,
    converting_activity_id UUID,
    converting_channel TEXT,
    touches_before_booking INTEGER,
    days_to_booking DOUBLE PRECISION,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_meetings PRIMARY KEY (client_id, meeting_id),
    CONSTRAINT fk_meetings_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT fk_meetings_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT ck_meetings_meeting_type_known CHECK (meeting_type IN ('discovery', 'demo', 'follow_up', 'close', 'onboarding', 'other')),
    CONSTRAINT ck_meetings_outcome_known CHECK (outcome IN ('good', 'bad', 'rescheduled', 'no_show', 'cancelled', 'pending')),
    CONSTRAINT ck_meetings_booked_by_known CHECK (booked_by IN ('ai', 'human', 'lead', 'external')),
    CONSTRAINT ck_meetings_showed_up_confirmed_by_known CHECK (showed_up_confirmed_by IN ('webhook', 'manual', 'calendar')),
    CONSTRAINT ck_meetings_rescheduled_count_range CHECK (rescheduled_count >= 0)
);
CREATE INDEX ix_meetings_booked_at ON meetings (client_id, booked_at);
CREATE INDEX ix_meetings_campaign_id ON meetings (client_id, campaign_id);
CREATE INDEX ix_meetings_lead_id ON meetings (client_id, lead_id, booked_at);
CREATE INDEX ix_meetings_scheduled_at ON meetings (client_id, scheduled_at);

CREATE TABLE pool_assignments (
    client_id TEXT NOT NULL,
    assignment_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    pool_id TEXT NOT NULL,
    lead_id TEXT,
    campaign_id TEXT,
    status TEXT DEFAULT 'active' NOT NULL,
    max_touches INTEGER DEFAULT '10' NOT NULL,
    total_touches INTEGER DEFAULT '0' NOT NULL,
    first_channel TEXT,
    cooling_until TIMESTAMP WITH TIME ZONE,
    assigned_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    released_at TIMESTAMP WITH TIME ZONE,
    release_reason TEXT,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pool_assignments PRIMARY KEY (client_id, assignment_id),
    CONSTRAINT fk_pool_assignments_client_id FOREIGN KEY(client_id) REFERENCES clients (client_id) ON DELETE CASCADE,
    CONSTRAINT fk_pool_assignments_pool_id FOREIGN KEY(pool_id) REFERENCES lead_pool (pool_id) ON DELETE CASCADE,
    CONSTRAINT fk_pool_assignments_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT fk_pool_assignments_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT ck_pool_assignments_first_channel_shape CHECK (first_channel ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT ck_pool_assignments_status_known CHECK (status IN ('active', 'released', 'converted', 'expired'))
);
CREATE INDEX ix_pool_assignments_lead_id ON pool_assignments (client_id, lead_id);
CREATE UNIQUE INDEX uq_pool_assignments_pool_id_active ON pool_assignments (pool_id) WHERE status = 'active';

CREATE TABLE activities (
    client_id TEXT NOT NULL,
    activity_id UUID DEFAULT gen_random_uuid() NOT NULL,
    idempotency_key TEXT,
    lead_id TEXT NOT NULL,
    campaign_id TEXT,
    channel TEXT NOT NULL,
    action TEXT NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    time_precision TEXT DEFAULT 'instant' NOT NULL,
    timezone TEXT,
    decision_id TEXT,
    about_activity_id UUID,
    provider_message_id TEXT,
    mail_thread_id TEXT,
    in_reply_to TEXT,
    sender_domain TEXT,
    conversation_thread_id TEXT,
    sequence_step INTEGER,
    sequence_id TEXT,
    subject TEXT,
    content_preview TEXT,
    full_message_body TEXT,
    template_id TEXT,
    ab_test_id TEXT,
    ab_variant TEXT,
    links_included TEXT[] DEFAULT '{}'::text[] NOT NULL,
    personalization_fields_used TEXT[] DEFAULT '{}'::text[] NOT NULL,
    ai_model_used TEXT,
    prompt_version TEXT,
    content_snapshot JSONB,
    provider TEXT,
    provider_status TEXT,
    metadata JSONB,
    link_clicked TEXT,
    user_agent TEXT,
    device_type TEXT,
    intent TEXT,
    intent_confidence DOUBLE PRECISION,
    converting BOOLEAN DEFAULT false NOT NULL,
    conversion_credit DOUBLE PRECISION,
    touch_number INTEGER,
    sequence_position INTEGER,
    gap_days DOUBLE PRECISION,
    lead_timezone TEXT,
    local_weekday SMALLINT,
    local_hour SMALLINT,
    local_time TIME WITHOUT TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    opened_at TIMESTAMP WITH TIME ZONE,
    open_count INTEGER DEFAULT '0' NOT NULL,
    human_opened_at TIMESTAMP WITH TIME ZONE,
    machine_open BOOLEAN DEFAULT false NOT NULL,
    clicked_at TIMESTAMP WITH TIME ZONE,
    click_count INTEGER DEFAULT '0' NOT NULL,
    human_clicked_at TIMESTAMP WITH TIME ZONE,
    machine_click BOOLEAN DEFAULT false NOT NULL,
    replied_at TIMESTAMP WITH TIME ZONE,
    bounced_at TIMESTAMP WITH TIME ZONE,
    time_to_open_minutes DOUBLE PRECISION,
    time_to_click_minutes DOUBLE PRECISION,
    time_to_reply_minutes DOUBLE PRECISION,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    processed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_activities PRIMARY KEY (client_id, activity_id),
    CONSTRAINT fk_activities_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT fk_activities_campaign_id FOREIGN KEY(client_id, campaign_id) REFERENCES campaigns (client_id, campaign_id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT fk_activities_conversation_thread_id FOREIGN KEY(client_id, conversation_thread_id) REFERENCES conversation_threads (client_id, thread_id) ON DELETE SET NULL (conversation_thread_id),
    CONSTRAINT ck_activities_channel_shape CHECK (channel ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT ck_activities_action_known CHECK (action IN ('sent', 'delivered', 'opened', 'clicked', 'replied', 'bounced', 'unsubscribed', 'complained', 'profile_viewed')),
    CONSTRAINT ck_activities_time_precision_known CHECK (time_precision IN ('instant', 'hour', 'day', 'weekday', 'month')),
    CONSTRAINT ck_activities_intent_known CHECK (intent IN ('meeting_request', 'interested', 'question', 'objection', 'not_interested', 'unsubscribe', 'out_of_office', 'auto_reply', 'referral', 'wrong_person', 'angry_or_complaint', 'unclear')),
    CONSTRAINT ck_activities_local_weekday_range CHECK (local_weekday BETWEEN 1 AND 7),
    CONSTRAINT ck_activities_local_hour_range CHECK (local_hour BETWEEN 0 AND 23),
    CONSTRAINT ck_activities_intent_confidence_range CHECK (intent_confidence BETWEEN 0 AND 1),
    CONSTRAINT ck_activities_content_preview_length CHECK (length(content_preview) <= 200)
)
 WITH (fillfactor = 45);
CREATE INDEX ix_activities_campaign_id ON activities (client_id, campaign_id) WHERE campaign_id IS NOT NULL;
CREATE INDEX ix_activities_decision_id ON activities (client_id, decision_id) WHERE decision_id IS NOT NULL;
CREATE INDEX ix_activities_ab_test_id ON activities (client_id, ab_test_id) WHERE ab_test_id IS NOT NULL;
CREATE INDEX ix_activities_lead_id ON activities (client_id, lead_id, occurred_at);
CREATE INDEX ix_activities_occurred_at ON activities (client_id, occurred_at);
CREATE INDEX ix_activities_opt_out ON activities (client_id, lead_id) WHERE action IN ('unsubscribed', 'complained');
CREATE INDEX ix_activities_provider_message_id ON activities (client_id, provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX ix_activities_thread_id ON activities (client_id, conversation_thread_id) WHERE conversation_thread_id IS NOT NULL;
CREATE UNIQUE INDEX uq_activities_idempotency_key ON activities (client_id, idempotency_key);
COMMENT ON COLUMN activities.timezone IS 'the lead''s zone as the sender knew it; else the lead''s own';
COMMENT ON COLUMN activities.about_activity_id IS 'the touch that an open, click, reply or bounce belongs to';
COMMENT ON COLUMN activities.local_weekday IS 'ISO, Monday = 1';

CREATE TABLE deals (
    client_id TEXT NOT NULL,
    deal_id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    lead_id TEXT NOT NULL,
    meeting_id TEXT,
    name TEXT DEFAULT '' NOT NULL,
    value NUMERIC(14, 2),
    currency TEXT DEFAULT 'AUD' NOT NULL,
    probability DOUBLE PRECISION DEFAULT '50' NOT NULL,
    stage TEXT DEFAULT 'qualification' NOT NULL,
    unmapped_stage TEXT,
    stage_changed_at TIMESTAMP WITH TIME ZONE,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expected_close_date DATE,
    closed_at TIMESTAMP WITH TIME ZONE,
    lost_reason TEXT,
    lost_notes TEXT,
    external_crm TEXT,
    external_deal_id TEXT,
    external_synced_at TIMESTAMP WITH TIME ZONE,
    won BOOLEAN,
    days_to_close DOUBLE PRECISION,
    converting_activity_id UUID,
    converting_channel TEXT,
    first_touch_channel TEXT,
    touches_before_deal INTEGER,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_deals PRIMARY KEY (client_id, deal_id),
    CONSTRAINT fk_deals_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT fk_deals_meeting_id FOREIGN KEY(client_id, meeting_id) REFERENCES meetings (client_id, meeting_id) ON DELETE SET NULL (meeting_id),
    CONSTRAINT ck_deals_stage_known CHECK (stage IN ('qualification', 'proposal', 'negotiation', 'verbal_commit', 'contract_sent', 'closed_won', 'closed_lost')),
    CONSTRAINT ck_deals_lost_reason_known CHECK (lost_reason IN ('price_too_high', 'chose_competitor', 'no_budget', 'timing_not_right', 'no_decision', 'champion_left', 'project_cancelled', 'went_silent', 'bad_fit', 'other')),
    CONSTRAINT ck_deals_probability_range CHECK (probability BETWEEN 0 AND 100),
    CONSTRAINT ck_deals_currency_shape CHECK (currency ~ '^[A-Z]{3}$')
);
CREATE INDEX ix_deals_closed_at ON deals (client_id, closed_at);
CREATE INDEX ix_deals_lead_id ON deals (client_id, lead_id);
CREATE INDEX ix_deals_meeting_id ON deals (client_id, meeting_id);
CREATE INDEX ix_deals_opened_at ON deals (client_id, opened_at);
CREATE UNIQUE INDEX uq_deals_external ON deals (client_id, external_crm, external_deal_id);
COMMENT ON COLUMN deals.probability IS 'percent';
COMMENT ON COLUMN deals.unmapped_stage IS 'the CRM''s own name when it could not be mapped';

CREATE TABLE replies (
    client_id TEXT NOT NULL,
    reply_id UUID DEFAULT gen_random_uuid() NOT NULL,
    idempotency_key TEXT,
    lead_id TEXT NOT NULL,
    thread_id TEXT,
    activity_id UUID,
    channel TEXT NOT NULL,
    direction TEXT DEFAULT 'inbound' NOT NULL,
    subject TEXT,
    content TEXT,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    intent TEXT,
    intent_confidence DOUBLE PRECISION,
    objection_type TEXT,
    question_extracted TEXT,
    sentiment TEXT,
    sentiment_score DOUBLE PRECISION,
    topics_mentioned TEXT[] DEFAULT '{}'::text[] NOT NULL,
    extracted_data JSONB,
    classified_at TIMESTAMP WITH TIME ZONE,
    response_method TEXT,
    response_cost DOUBLE PRECISION,
    scheduled_for TIMESTAMP WITH TIME ZONE,
    sent_at TIMESTAMP WITH TIME ZONE,
    sequence_action TEXT,
    meeting_created BOOLEAN DEFAULT false NOT NULL,
    referral_lead_id TEXT,
    admin_review_required BOOLEAN DEFAULT false NOT NULL,
    reviewed_at TIMESTAMP WITH TIME ZONE,
    reviewed_by TEXT,
    answered_activity_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_replies PRIMARY KEY (client_id, reply_id),
    CONSTRAINT fk_replies_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT fk_replies_thread_id FOREIGN KEY(client_id, thread_id) REFERENCES conversation_threads (client_id, thread_id) ON DELETE SET NULL (thread_id),
    CONSTRAINT ck_replies_channel_shape CHECK (channel ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT ck_replies_intent_known CHECK (intent IN ('meeting_request', 'interested', 'question', 'objection', 'not_interested', 'unsubscribe', 'out_of_office', 'auto_reply', 'referral', 'wrong_person', 'angry_or_complaint', 'unclear')),
    CONSTRAINT ck_replies_objection_type_known CHECK (objection_type IN ('timing', 'budget', 'authority', 'need', 'competitor', 'trust', 'other')),
    CONSTRAINT ck_replies_sentiment_known CHECK (sentiment IN ('positive', 'neutral', 'negative', 'mixed')),
    CONSTRAINT ck_replies_sentiment_score_range CHECK (sentiment_score BETWEEN -1 AND 1),
    CONSTRAINT ck_replies_intent_confidence_range CHECK (intent_confidence BETWEEN 0 AND 1),
    CONSTRAINT ck_replies_direction_known CHECK (direction IN ('inbound', 'outbound')),
    CONSTRAINT ck_replies_response_method_known CHECK (response_method IN ('template', 'smart_prompt', 'sdk')),
    CONSTRAINT ck_replies_sequence_action_known CHECK (sequence_action IN ('pause', 'stop', 'continue'))
);
CREATE INDEX ix_replies_lead_id ON replies (client_id, lead_id, received_at);
CREATE INDEX ix_replies_received_at ON replies (client_id, received_at);
CREATE INDEX ix_replies_thread_id ON replies (client_id, thread_id);
CREATE UNIQUE INDEX uq_replies_idempotency_key ON replies (client_id, idempotency_key);
COMMENT ON COLUMN replies.activity_id IS 'the touch answered, when the caller knows it';

CREATE TABLE deal_stage_history (
    client_id TEXT NOT NULL,
    change_id UUID DEFAULT gen_random_uuid() NOT NULL,
    deal_id TEXT NOT NULL,
    from_stage TEXT,
    to_stage TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    changed_by TEXT DEFAULT 'system' NOT NULL,
    notes TEXT,
    days_in_previous_stage DOUBLE PRECISION,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_deal_stage_history PRIMARY KEY (client_id, change_id),
    CONSTRAINT fk_deal_stage_history_deal_id FOREIGN KEY(client_id, deal_id) REFERENCES deals (client_id, deal_id) ON DELETE CASCADE,
    CONSTRAINT ck_deal_stage_history_from_stage_known CHECK (from_stage IN ('qualification', 'proposal', 'negotiation', 'verbal_commit', 'contract_sent', 'closed_won', 'closed_lost')),
    CONSTRAINT ck_deal_stage_history_to_stage_known CHECK (to_stage IN ('qualification', 'proposal', 'negotiation', 'verbal_commit', 'contract_sent', 'closed_won', 'closed_lost'))
);
CREATE INDEX ix_deal_stage_history_deal_id ON deal_stage_history (client_id, deal_id, changed_at);
COMMENT ON COLUMN deal_stage_history.from_stage IS 'null for the first stage';

CREATE TABLE email_events (
    client_id TEXT NOT NULL,
    event_id UUID DEFAULT gen_random_uuid() NOT NULL,
    activity_id UUID NOT NULL,
    lead_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    provider TEXT DEFAULT '' NOT NULL,
    provider_event_id TEXT,
    bounce_class TEXT,
    reported_machine BOOLEAN,
    clicked_url TEXT,
    user_agent TEXT,
    email_client TEXT,
    device_type TEXT,
    os_type TEXT,
    open_country TEXT,
    raw_payload JSONB,
    is_machine BOOLEAN DEFAULT false NOT NULL,
    machine_reason TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_email_events PRIMARY KEY (client_id, event_id),
    CONSTRAINT fk_email_events_activity_id FOREIGN KEY(client_id, activity_id) REFERENCES activities (client_id, activity_id) ON DELETE CASCADE,
    CONSTRAINT fk_email_events_lead_id FOREIGN KEY(client_id, lead_id) REFERENCES leads (client_id, lead_id) ON DELETE CASCADE,
    CONSTRAINT ck_email_events_event_type_known CHECK (event_type IN ('sent', 'delivered', 'opened', 'clicked', 'bounced', 'complained', 'unsubscribed', 'dropped')),
    CONSTRAINT ck_email_events_bounce_class_known CHECK (bounce_class IN ('hard', 'soft')),
    CONSTRAINT ck_email_events_machine_reason_known CHECK (machine_reason IN ('reported', 'privacy_proxy', 'scanner', 'fast_open', 'fast_click'))
);
CREATE INDEX ix_email_events_activity_id ON email_events (client_id, activity_id);
CREATE INDEX ix_email_events_lead_id ON email_events (client_id, lead_id, event_type);
CREATE INDEX ix_email_events_occurred_at ON email_events (client_id, occurred_at);
CREATE INDEX ix_email_events_opt_out ON email_events (client_id, lead_id) WHERE event_type IN ('unsubscribed', 'complained');
CREATE UNIQUE INDEX uq_email_events_provider_event_id ON email_events (client_id, provider, provider_event_id);

CREATE TABLE revenue_attribution (
    client_id TEXT NOT NULL,
    deal_id TEXT NOT NULL,
    model TEXT NOT NULL,
    activity_id UUID NOT NULL,
    activity_channel TEXT NOT NULL,
    activity_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    credit_share DOUBLE PRECISION NOT NULL,
    credit_value NUMERIC(14, 2),
    touch_position INTEGER NOT NULL,
    total_touches INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_revenue_attribution PRIMARY KEY (client_id, deal_id, model, activity_id),
    CONSTRAINT fk_revenue_attribution_deal_id FOREIGN KEY(client_id, deal_id) REFERENCES deals (client_id, deal_id) ON DELETE CASCADE,
    CONSTRAINT fk_revenue_attribution_activity_id FOREIGN KEY(client_id, activity_id) REFERENCES activities (client_id, activity_id) ON DELETE CASCADE,
    CONSTRAINT ck_revenue_attribution_activity_channel_shape CHECK (activity_channel ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT ck_revenue_attribution_credit_share_range CHECK (credit_share BETWEEN 0 AND 1),
    CONSTRAINT ck_revenue_attribution_model_known CHECK (model IN ('first_touch', 'last_touch', 'linear', 'time_decay', 'markov'))
);
CREATE INDEX ix_revenue_attribution_activity_id ON revenue_attribution (client_id, activity_id);

CREATE TABLE thread_messages (
    client_id TEXT NOT NULL,
    message_id UUID DEFAULT gen_random_uuid() NOT NULL,
    thread_id TEXT NOT NULL,
    activity_id UUID,
    reply_id UUID,
    direction TEXT NOT NULL,
    content TEXT,
    content_preview TEXT,
    intent TEXT,
    objection_type TEXT,
    question_extracted TEXT,
    sentiment TEXT,
    sentiment_score DOUBLE PRECISION,
    topics_mentioned TEXT[] DEFAULT '{}'::text[] NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    position INTEGER,
    response_time_minutes DOUBLE PRECISION,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_thread_messages PRIMARY KEY (client_id, message_id),
    CONSTRAINT fk_thread_messages_thread_id FOREIGN KEY(client_id, thread_id) REFERENCES conversation_threads (client_id, thread_id) ON DELETE CASCADE,
    CONSTRAINT fk_thread_messages_activity_id FOREIGN KEY(client_id, activity_id) REFERENCES activities (client_id, activity_id) ON DELETE SET NULL (activity_id),
    CONSTRAINT fk_thread_messages_reply_id FOREIGN KEY(client_id, reply_id) REFERENCES replies (client_id, reply_id) ON DELETE SET NULL (reply_id),
    CONSTRAINT uq_thread_messages_client_id_thread_id_position UNIQUE (client_id, thread_id, position) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ck_thread_messages_intent_known CHECK (intent IN ('meeting_request', 'interested', 'question', 'objection', 'not_interested', 'unsubscribe', 'out_of_office', 'auto_reply', 'referral', 'wrong_person', 'angry_or_complaint', 'unclear')),
    CONSTRAINT ck_thread_messages_objection_type_known CHECK (objection_type IN ('timing', 'budget', 'authority', 'need', 'competitor', 'trust', 'other')),
    CONSTRAINT ck_thread_messages_sentiment_known CHECK (sentiment IN ('positive', 'neutral', 'negative', 'mixed')),
    CONSTRAINT ck_thread_messages_sentiment_score_range CHECK (sentiment_score BETWEEN -1 AND 1),
    CONSTRAINT ck_thread_messages_direction_known CHECK (direction IN ('inbound', 'outbound')),
    CONSTRAINT ck_thread_messages_position_range CHECK (position >= 1),
    CONSTRAINT ck_thread_messages_content_preview_length CHECK (length(content_preview) <= 200)
);
CREATE INDEX ix_thread_messages_activity_id ON thread_messages (client_id, activity_id);
CREATE INDEX ix_thread_messages_reply_id ON thread_messages (client_id, reply_id);
COMMENT ON COLUMN thread_messages.activity_id IS 'ours';
COMMENT ON COLUMN thread_messages.reply_id IS 'theirs';
