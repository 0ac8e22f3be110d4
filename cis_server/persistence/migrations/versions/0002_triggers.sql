-- Functions that look across tables run with the owner's rights and a fixed search path.

-- updated_at ------------------------------------------------------------------------------------

CREATE FUNCTION cis_touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

DO $$
DECLARE
    dated text;
BEGIN
    FOR dated IN
        SELECT c.relname
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'updated_at'
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind = 'r'
          AND pg_get_userbyid(c.relowner) = 'cis_owner'
    LOOP
        EXECUTE format('CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %I
                        FOR EACH ROW EXECUTE FUNCTION cis_touch_updated_at()', dated);
    END LOOP;
END
$$;

-- The queue of leads whose derived columns are out of date ---------------------------------------

-- DO UPDATE, not DO NOTHING: it locks the row, so that a drain which is deleting it waits for this
-- transaction and then sees its events.
CREATE FUNCTION cis_queue_new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF current_setting('cis.rederiving', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO dirty_leads (client_id, lead_id)
    SELECT DISTINCT client_id, lead_id FROM new_rows ORDER BY 1, 2
    ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    RETURN NULL;
END
$$;

CREATE FUNCTION cis_queue_old() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF current_setting('cis.rederiving', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO dirty_leads (client_id, lead_id)
    SELECT DISTINCT client_id, lead_id FROM old_rows ORDER BY 1, 2
    ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    RETURN NULL;
END
$$;

-- Updates fire by column list and row, for two reasons: what `rederive` writes is in no list, so it
-- costs nothing, and a statement trigger would keep a copy of every row it rewrites.
CREATE FUNCTION cis_queue_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO dirty_leads (client_id, lead_id)
    VALUES (OLD.client_id, OLD.lead_id)
    ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    IF (NEW.client_id, NEW.lead_id) <> (OLD.client_id, OLD.lead_id) THEN
        INSERT INTO dirty_leads (client_id, lead_id)
        VALUES (NEW.client_id, NEW.lead_id)
        ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    watched text[];
BEGIN
    FOREACH watched SLICE 1 IN ARRAY ARRAY[
        ['activities', 'lead_id, campaign_id, channel, action, occurred_at, time_precision,
            timezone, about_activity_id, sequence_step, idempotency_key, user_agent, intent,
            provider_status'],
        ['email_events', 'lead_id, activity_id, event_type, occurred_at, reported_machine,
            user_agent, email_client, bounce_class'],
        ['replies', 'lead_id, activity_id, channel, direction, received_at, intent'],
        ['conversation_threads', 'lead_id'],
        ['meetings', 'lead_id, booked_at'],
        ['deals', 'lead_id, meeting_id, stage, stage_changed_at, opened_at, closed_at, value']
    ] LOOP
        EXECUTE format('CREATE TRIGGER queue_new AFTER INSERT ON %I
                        REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION cis_queue_new()', watched[1]);
        EXECUTE format('CREATE TRIGGER queue_old AFTER DELETE ON %I
                        REFERENCING OLD TABLE AS old_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION cis_queue_old()', watched[1]);
        EXECUTE format('CREATE TRIGGER queue_changed AFTER UPDATE OF %s ON %I FOR EACH ROW
                        WHEN (OLD.* IS DISTINCT FROM NEW.*
                              AND current_setting(''cis.rederiving'', true) IS DISTINCT FROM ''on'')
                        EXECUTE FUNCTION cis_queue_changed()', watched[2], watched[1]);
    END LOOP;
END
$$;

-- A message belongs to a lead through its thread, a stage change through its deal.
CREATE FUNCTION cis_queue_parts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF TG_TABLE_NAME = 'thread_messages' THEN
        INSERT INTO dirty_leads (client_id, lead_id)
        SELECT t.client_id, t.lead_id FROM conversation_threads t
        WHERE t.client_id = part.client_id AND t.thread_id = part.thread_id
        ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    ELSE
        INSERT INTO dirty_leads (client_id, lead_id)
        SELECT d.client_id, d.lead_id FROM deals d
        WHERE d.client_id = part.client_id AND d.deal_id = part.deal_id
        ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    watched text[];
BEGIN
    FOREACH watched SLICE 1 IN ARRAY ARRAY[
        ['thread_messages', 'thread_id, direction, sent_at'],
        ['deal_stage_history', 'deal_id, from_stage, changed_at']
    ] LOOP
        EXECUTE format('CREATE TRIGGER queue_part AFTER INSERT OR DELETE OR UPDATE OF %s ON %I
                        FOR EACH ROW
                        WHEN (current_setting(''cis.rederiving'', true) IS DISTINCT FROM ''on'')
                        EXECUTE FUNCTION cis_queue_parts()', watched[2], watched[1]);
    END LOOP;
END
$$;

-- Changes that every serving process must hear of ------------------------------------------------

CREATE FUNCTION cis_notify(kind text, client_id text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('cis_changes',
                     json_build_object('kind', kind, 'client_id', client_id)::text)
$$;

CREATE FUNCTION cis_notify_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.cis_notify(TG_ARGV[0], c.client_id)
    FROM (SELECT DISTINCT client_id FROM new_rows) c;
    RETURN NULL;
END
$$;

CREATE FUNCTION cis_notify_old() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.cis_notify(TG_ARGV[0], c.client_id)
    FROM (SELECT DISTINCT client_id FROM old_rows) c;
    RETURN NULL;
END
$$;

CREATE FUNCTION cis_notify_all_clients() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.cis_notify(TG_ARGV[0], NULL);
    RETURN NULL;
END
$$;

DO $$
DECLARE
    pair text[];
BEGIN
    FOREACH pair SLICE 1 IN ARRAY ARRAY[
        ['suppression', 'suppression'], ['patterns', 'patterns'], ['pattern_status', 'patterns'],
        ['models', 'weights'], ['clients', 'client'], ['campaigns', 'client']
    ] LOOP
        EXECUTE format('CREATE TRIGGER notify_new AFTER INSERT ON %I
                        REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_new(%L)', pair[1], pair[2]);
        EXECUTE format('CREATE TRIGGER notify_changed AFTER UPDATE ON %I
                        REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_new(%L)', pair[1], pair[2]);
        EXECUTE format('CREATE TRIGGER notify_old AFTER DELETE ON %I
                        REFERENCING OLD TABLE AS old_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_old(%L)', pair[1], pair[2]);
    END LOOP;
END
$$;

-- Who shares no more takes back what it gave, and what it was given is served no more.
CREATE FUNCTION cis_withdraw_from_pool() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.pool_contributions p WHERE p.client_id = NEW.client_id;
    WITH served AS (
        SELECT * FROM public.models m
        WHERE m.client_id = NEW.client_id AND m.origin = 'pooled'
          AND m.state IN ('live', 'rolling_out')
    ), gone AS (
        UPDATE public.models m SET state = 'retired', retired_at = now(),
               reason = 'the client no longer shares with the pool'
        FROM served s WHERE m.client_id = s.client_id AND m.model_id = s.model_id
    )
    INSERT INTO public.model_events (client_id, model_id, kind, target, version, from_state,
                                     to_state, rollout, actor, reason)
    SELECT client_id, model_id, kind, target, version, state, 'retired', 0, 'policy',
           'the client no longer shares with the pool' FROM served;
    RETURN NULL;
END
$$;

CREATE TRIGGER withdraw_from_pool AFTER UPDATE ON clients FOR EACH ROW
    WHEN ((OLD.policy -> 'pooling') = 'true' AND OLD.deleted_at IS NULL
          AND ((NEW.policy -> 'pooling') IS DISTINCT FROM 'true' OR NEW.deleted_at IS NOT NULL))
    EXECUTE FUNCTION cis_withdraw_from_pool();

CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON global_suppression
    FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_all_clients('suppression');

-- An opt-out that arrives as an event closes the lead's channels before anything is derived.
CREATE FUNCTION cis_notify_opt_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'activities' THEN
        PERFORM public.cis_notify('suppression', c.client_id)
        FROM (SELECT DISTINCT client_id FROM new_rows
              WHERE action IN ('unsubscribed', 'complained')) c;
    ELSE
        PERFORM public.cis_notify('suppression', c.client_id)
        FROM (SELECT DISTINCT client_id FROM new_rows
              WHERE event_type IN ('unsubscribed', 'complained')) c;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER notify_opt_out AFTER INSERT ON activities REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_opt_out();
CREATE TRIGGER notify_opt_out AFTER INSERT ON email_events REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_opt_out();

-- Leads: both of the above, but only when a column that matters has changed ----------------------


CREATE FUNCTION cis_leads_added() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM cis_notify('suppression', c.client_id)
    FROM (SELECT DISTINCT client_id FROM new_rows
          WHERE unsubscribed OR do_not_contact OR status = 'unsubscribed'
             OR unsubscribed_at IS NOT NULL OR complained_at IS NOT NULL) c;
    IF current_setting('cis.rederiving', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO dirty_leads (client_id, lead_id)
    SELECT client_id, lead_id FROM new_rows
    WHERE status IN ('converted', 'meeting_booked')
       OR stated_converted_at IS NOT NULL OR converted_at IS NOT NULL
    ORDER BY 1, 2
    ON CONFLICT (client_id, lead_id) DO UPDATE SET queued_at = now();
    RETURN NULL;
END
$$;

CREATE FUNCTION cis_notify_lead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.cis_notify('suppression', NEW.client_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER leads_added AFTER INSERT ON leads REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cis_leads_added();
CREATE TRIGGER leads_changed AFTER UPDATE OF
    status, timezone, stated_converted_at, converted_at, conversion_type ON leads
    FOR EACH ROW
    WHEN ((OLD.status, OLD.timezone, OLD.stated_converted_at, OLD.converted_at, OLD.conversion_type)
          IS DISTINCT FROM
          (NEW.status, NEW.timezone, NEW.stated_converted_at, NEW.converted_at, NEW.conversion_type)
          AND current_setting('cis.rederiving', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION cis_queue_changed();
CREATE TRIGGER leads_closed AFTER UPDATE OF
    unsubscribed, do_not_contact, status, unsubscribed_at, complained_at, email ON leads
    FOR EACH ROW
    WHEN ((OLD.unsubscribed, OLD.do_not_contact, OLD.status = 'unsubscribed',
           OLD.unsubscribed_at IS NULL, OLD.complained_at IS NULL)
          IS DISTINCT FROM
          (NEW.unsubscribed, NEW.do_not_contact, NEW.status = 'unsubscribed',
           NEW.unsubscribed_at IS NULL, NEW.complained_at IS NULL)
          OR OLD.email IS DISTINCT FROM NEW.email)
    EXECUTE FUNCTION cis_notify_lead();
CREATE TRIGGER leads_removed AFTER DELETE ON leads REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cis_notify_old('suppression');

-- Deal stages ------------------------------------------------------------------------------------

CREATE FUNCTION cis_deal_stage_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.stage_changed_at := coalesce(
            NEW.stage_changed_at,
            CASE WHEN NEW.stage IN ('closed_won', 'closed_lost') THEN NEW.closed_at END,
            NEW.opened_at);
    ELSIF NEW.stage IS DISTINCT FROM OLD.stage
          AND NEW.stage_changed_at IS NOT DISTINCT FROM OLD.stage_changed_at THEN
        NEW.stage_changed_at := coalesce(
            CASE WHEN NEW.stage IN ('closed_won', 'closed_lost')
                  AND NEW.closed_at IS DISTINCT FROM OLD.closed_at THEN NEW.closed_at END,
            now());
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER stage_time BEFORE INSERT OR UPDATE ON deals
    FOR EACH ROW EXECUTE FUNCTION cis_deal_stage_time();

CREATE FUNCTION cis_deal_history_new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO deal_stage_history (client_id, deal_id, from_stage, to_stage, changed_at, changed_by)
    SELECT client_id, deal_id, NULL, stage, stage_changed_at,
           coalesce(nullif(current_setting('cis.actor', true), ''), 'system')
    FROM new_rows;
    RETURN NULL;
END
$$;

CREATE FUNCTION cis_deal_history_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO deal_stage_history
        (client_id, deal_id, from_stage, to_stage, changed_at, changed_by)
    VALUES (NEW.client_id, NEW.deal_id, OLD.stage, NEW.stage, NEW.stage_changed_at,
            coalesce(nullif(current_setting('cis.actor', true), ''), 'system'));
    RETURN NULL;
END
$$;

CREATE TRIGGER history_new AFTER INSERT ON deals REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cis_deal_history_new();
CREATE TRIGGER history_changed AFTER UPDATE OF stage ON deals
    FOR EACH ROW WHEN (OLD.stage <> NEW.stage) EXECUTE FUNCTION cis_deal_history_changed();

-- Suppression ------------------------------------------------------------------------------------

-- The same rules as cis_server.domain.suppression.normalised_identifier.
CREATE FUNCTION cis_normalise_identifier(kind text, value text) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE kind
        WHEN 'lead_id' THEN value
        WHEN 'phone' THEN regexp_replace(regexp_replace(value, '[^0-9]+', '', 'g'), '^00', '')
        WHEN 'domain' THEN rtrim(
            regexp_replace(ltrim(lower(btrim(value, E' \t\r\n')), '@.'), '^www[.]', ''), '.')
        ELSE lower(btrim(value, E' \t\r\n'))
    END
$$;

CREATE FUNCTION cis_normalise_suppression() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.value := public.cis_normalise_identifier(NEW.kind, NEW.value);
    RETURN NEW;
END
$$;

CREATE TRIGGER normalise BEFORE INSERT OR UPDATE ON suppression
    FOR EACH ROW EXECUTE FUNCTION cis_normalise_suppression();
CREATE TRIGGER normalise BEFORE INSERT OR UPDATE ON global_suppression
    FOR EACH ROW EXECUTE FUNCTION cis_normalise_suppression();

-- Everything that closes a lead, wherever it was written: the lists, the leads' own flags, and
-- opt-outs that have arrived as events.
CREATE VIEW suppressed_identifiers AS
SELECT client_id, kind, value, reason FROM suppression
UNION ALL
SELECT NULL, kind, value, reason FROM global_suppression
UNION ALL
SELECT l.client_id, i.kind, i.value,
       CASE WHEN l.complained_at IS NOT NULL THEN 'complaint'
            WHEN l.do_not_contact THEN 'do_not_contact'
            ELSE 'unsubscribe' END
FROM leads l
CROSS JOIN LATERAL (VALUES
    ('lead_id', l.lead_id), ('email', cis_normalise_identifier('email', l.email))) i (kind, value)
WHERE (l.unsubscribed OR l.do_not_contact OR l.status = 'unsubscribed'
       OR l.unsubscribed_at IS NOT NULL OR l.complained_at IS NOT NULL)
  AND i.value <> ''
UNION ALL
SELECT l.client_id, i.kind, i.value, e.reason
FROM (
    SELECT client_id, lead_id,
           CASE action WHEN 'complained' THEN 'complaint' ELSE 'unsubscribe' END AS reason
    FROM activities WHERE action IN ('unsubscribed', 'complained')
    UNION
    SELECT client_id, lead_id,
           CASE event_type WHEN 'complained' THEN 'complaint' ELSE 'unsubscribe' END
    FROM email_events WHERE event_type IN ('unsubscribed', 'complained')
) e
JOIN leads l USING (client_id, lead_id)
CROSS JOIN LATERAL (VALUES
    ('lead_id', l.lead_id), ('email', cis_normalise_identifier('email', l.email))) i (kind, value)
WHERE i.value <> '';

GRANT SELECT ON suppressed_identifiers TO cis_loader;

-- What a client may ask of the list that holds for all: yes or no.
CREATE FUNCTION cis_is_globally_suppressed(kind text, value text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM global_suppression g
        WHERE g.kind = $1 AND g.value = cis_normalise_identifier($1, $2))
$$;

-- Statistics after a load ------------------------------------------------------------------------

-- Only an owner may ANALYZE, and without it a derive right after a load is planned for empty tables.
CREATE FUNCTION cis_analyze() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    ANALYZE leads, activities, email_events, replies, conversation_threads, thread_messages,
            meetings, deals, deal_stage_history;
END
$$;
