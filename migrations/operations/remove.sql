-- Removes the service from this database after its stack was deleted: its tables, with all schedules and undelivered audit
-- events, its functions, and its roles. Flags are kept; if they belonged to flag_schedules_migrate, they belong to the current
-- user afterwards. Run with psql as the user who ran roles.sql:
--
--     psql "$OWNER_URL" -f migrations/operations/remove.sql
--
-- It is one transaction: if a view or a foreign key of another tool needs one of the tables, nothing is changed. Roles that
-- another database of the server uses are kept, and lose their rights in this one.

\set QUIET on
\set ON_ERROR_STOP on

begin;

do $$
declare
    flags pg_catalog.regclass := 'feature_flags'::pg_catalog.regclass;
    schedules pg_catalog.regclass := 'feature_flag_schedules'::pg_catalog.regclass;
    outbox pg_catalog.regclass := 'audit_outbox'::pg_catalog.regclass;
    history pg_catalog.regclass := 'flag_schedules_schema_history'::pg_catalog.regclass;
    schema_name pg_catalog.regnamespace;
    service_roles pg_catalog.text[];
    service_role pg_catalog.text;
    joined pg_catalog.text[] := '{}';
    is_shared pg_catalog.bool;
    found record;
begin
    -- What others created in `public` does not run with this user's rights.
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    select relnamespace into schema_name from pg_class where oid = schedules;
    select coalesce(array_agg(rolname::text), '{}') into service_roles from pg_roles
    where rolname in ('flag_schedules_migrate', 'flag_schedules_api', 'flag_schedules_processor', 'flag_schedules_reader',
        'flag_schedules_retention');

    -- Only a member may drop what a role owns. No other session sees this membership, which ends below.
    foreach service_role in array service_roles loop
        if not pg_has_role(service_role, 'usage') then
            execute format('grant %I to current_user', service_role);
            joined := joined || service_role;
        end if;
    end loop;

    -- Functions that nothing depends on, for some depend on a table; the tables with their triggers; the other functions.
    for round in 1..2 loop
        for found in
            select p.oid::regprocedure as name
            from pg_proc p
            where p.pronamespace = schema_name
                and (p.proname = 'flag_schedule_document' or starts_with(p.proname, 'flag_schedules_'))
                and (round = 2 or not exists (
                    select from pg_depend d where d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid
                ))
        loop
            execute format('drop function %s', found.name);
        end loop;
        if round = 1 then
            execute format('drop table %s, %s, %s', outbox, schedules, history);
        end if;
    end loop;

    if 'flag_schedules_migrate' = any (service_roles) then
        reassign owned by flag_schedules_migrate to current_user;
    end if;

    foreach service_role in array service_roles loop
        select exists (
            select from pg_shdepend d
            where d.refclassid = 'pg_authid'::regclass and d.refobjid = service_role::regrole
                and case when d.dbid <> 0 then d.dbid when d.classid = 'pg_database'::regclass then d.objid end
                    <> (select oid from pg_database where datname = current_database())
        ) into is_shared;
        if is_shared then
            -- `drop owned` would revoke the right to connect to the other databases as well.
            execute format('revoke all on %s from %I', flags, service_role);
            execute format('revoke all on schema %s from %I', schema_name, service_role);
            execute format('revoke all on database %I from %I', current_database(), service_role);
            execute format('alter role %I in database %I reset all', service_role, current_database());
            if service_role = any (joined) then
                execute format('revoke %I from current_user', service_role);
            end if;
            raise notice '% is kept: another database uses it', service_role;
        else
            execute format('drop owned by %I', service_role);
            execute format('drop role %I', service_role);
        end if;
    end loop;
end
$$;

commit;
