-- A row is visible when its client is the one the transaction was opened for. Without that setting
-- nothing is visible: current_setting gives null or '', and no client_id equals either.
DO $$
DECLARE
    tenant_table text;
    -- What serving processes keep in memory of every client.
    resident constant text[] := ARRAY[
        'clients', 'campaigns', 'patterns', 'pattern_status', 'models', 'suppression',
        'pool_contributions'];
    -- Records of what was done: added to, never changed.
    append_only constant text[] := ARRAY['pattern_history', 'access_audit', 'model_events'];
    mine constant text := 'client_id = current_setting(''cis.client_id'', true)';
BEGIN
    FOR tenant_table IN
        SELECT c.relname
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'client_id'
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind = 'r'
          AND pg_get_userbyid(c.relowner) = 'cis_owner'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY owner_all ON %I TO cis_owner USING (true) WITH CHECK (true)',
                       tenant_table);
        EXECUTE format('CREATE POLICY app_own_client ON %I TO cis_app USING (%s) WITH CHECK (%s)',
                       tenant_table, mine, mine);
        EXECUTE format('CREATE POLICY reader_own_client ON %I FOR SELECT TO cis_reader USING (%s)',
                       tenant_table, mine);
        EXECUTE format('GRANT SELECT ON %I TO cis_reader', tenant_table);
        IF tenant_table = ANY (append_only) THEN
            EXECUTE format('GRANT SELECT, INSERT ON %I TO cis_app', tenant_table);
        ELSIF tenant_table = 'clients' THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO cis_app', tenant_table);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO cis_app', tenant_table);
        END IF;
        IF tenant_table = ANY (resident) THEN
            EXECUTE format('CREATE POLICY loader_all ON %I FOR SELECT TO cis_loader USING (true)',
                           tenant_table);
            EXECUTE format('GRANT SELECT ON %I TO cis_loader', tenant_table);
        END IF;
    END LOOP;
END
$$;

-- Nobody but the loader and the owner reads the list that holds for all clients.
ALTER TABLE global_suppression ENABLE ROW LEVEL SECURITY;
ALTER TABLE global_suppression FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON global_suppression TO cis_owner USING (true) WITH CHECK (true);
CREATE POLICY loader_all ON global_suppression FOR SELECT TO cis_loader USING (true);
GRANT SELECT ON global_suppression TO cis_loader;

-- A person of the shared pool is seen by the client it is or was assigned to.
ALTER TABLE lead_pool ENABLE ROW LEVEL SECURITY;
ALTER TABLE lead_pool FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON lead_pool TO cis_owner USING (true) WITH CHECK (true);
CREATE POLICY app_assigned ON lead_pool FOR SELECT TO cis_app USING (EXISTS (
    SELECT FROM pool_assignments a
    WHERE a.client_id = current_setting('cis.client_id', true) AND a.pool_id = lead_pool.pool_id));
GRANT SELECT ON lead_pool TO cis_app;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON users TO cis_owner USING (true) WITH CHECK (true);
CREATE POLICY app_members ON users FOR SELECT TO cis_app USING (EXISTS (
    SELECT FROM memberships m
    WHERE m.client_id = current_setting('cis.client_id', true)
      AND m.user_id = users.user_id
      AND m.accepted_at IS NOT NULL
      AND m.deleted_at IS NULL));
GRANT SELECT ON users TO cis_app;

GRANT SELECT ON time_zones TO cis_app, cis_reader, cis_loader;
