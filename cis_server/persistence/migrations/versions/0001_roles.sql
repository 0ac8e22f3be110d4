-- Roles belong to the whole server, so another database may have made them already, and another
-- process may be making them right now.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['cis_owner', 'cis_app', 'cis_reader', 'cis_loader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- Whoever migrates is also who serves: it must be able to take these roles. Having made a
        -- role is not enough for that, and an administrator may have granted them beforehand.
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', wanted);
    END LOOP;
END
$$;

GRANT CREATE ON SCHEMA public TO cis_owner;
