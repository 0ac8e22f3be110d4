DROP VIEW suppressed_identifiers;

DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT t.tgname AS name, c.relname AS on_table
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE NOT t.tgisinternal AND p.proname LIKE 'cis\_%'
          AND c.relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %I', thing.name, thing.on_table);
    END LOOP;
    FOR thing IN
        SELECT p.oid::regprocedure::text AS name
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'cis\_%'
          AND pg_get_userbyid(p.proowner) = 'cis_owner'
        -- trigger functions use the plain ones, which no dependency records
        ORDER BY p.prorettype <> 'trigger'::regtype
    LOOP
        EXECUTE 'DROP FUNCTION ' || thing.name;
    END LOOP;
    FOR thing IN
        SELECT policyname AS name, tablename AS on_table
        FROM pg_policies
        WHERE schemaname = 'public'
          AND tablename IN (SELECT relname FROM pg_class
                            WHERE pg_get_userbyid(relowner) = 'cis_owner')
    LOOP
        EXECUTE format('DROP POLICY %I ON %I', thing.name, thing.on_table);
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', thing.on_table);
        EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', thing.on_table);
    END LOOP;
    FOR thing IN
        SELECT relname AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND pg_get_userbyid(relowner) = 'cis_owner'
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM cis_app, cis_reader, cis_loader', thing.name);
    END LOOP;
END
$$;
