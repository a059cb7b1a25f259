-- Table privileges of the roles in roles.sql: exactly what the statements of this release need. `migrate` runs this after the
-- migrations, every time, as the owner of the tables, so a release that needs more grants it. Nothing is ever revoked here:
-- the previous release may still be running. Every function and operator is schema-qualified, so that objects created by
-- others in `public` do not run with our privileges.

do $$
declare
    has_reader pg_catalog.bool;
begin
    -- The guards call these in the name of the role that writes to the table. Every role may, unless default privileges say
    -- otherwise.
    grant execute on function flag_schedules_is_guarded(pg_catalog.oid), flag_schedules_acts_as(pg_catalog.text[]) to public;

    -- Optional: the role of retention.sql deletes old ended schedules by this function, and may do nothing else. Only who may
    -- act as the function's owner can grant it.
    if exists (
        select from pg_catalog.pg_database database
        cross join pg_catalog.aclexplode(database.datacl) granted
        join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) granted.grantee
        cross join pg_catalog.pg_proc f
        where database.datname operator(pg_catalog.=) pg_catalog.current_database()
            and granted.privilege_type operator(pg_catalog.=) 'CONNECT'
            and role.rolname operator(pg_catalog.=) 'flag_schedules_retention'
            and f.oid operator(pg_catalog.=)
                'flag_schedules_delete_ended(pg_catalog.interval, pg_catalog.int4)'::pg_catalog.regprocedure::pg_catalog.oid
            and pg_catalog.pg_has_role(f.proowner, 'usage')
    ) then
        grant execute on function flag_schedules_delete_ended(pg_catalog.interval, pg_catalog.int4) to flag_schedules_retention;
    end if;

    -- If roles.sql has not been run in this database, its roles are managed in another way.
    if 2 operator(pg_catalog.<>) (
        select pg_catalog.count(distinct role.rolname)
        from pg_catalog.pg_database database
        cross join pg_catalog.aclexplode(database.datacl) granted
        join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) granted.grantee
        where database.datname operator(pg_catalog.=) pg_catalog.current_database()
            and granted.privilege_type operator(pg_catalog.=) 'CONNECT'
            and role.rolname operator(pg_catalog.=) any ('{flag_schedules_api,flag_schedules_processor}'::pg_catalog.name[])
    ) then
        return;
    end if;
    -- The reader is newer than the others: until roles.sql is run again, its functions sign in as flag_schedules_api.
    select exists (
        select from pg_catalog.pg_database database
        cross join pg_catalog.aclexplode(database.datacl) granted
        join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) granted.grantee
        where database.datname operator(pg_catalog.=) pg_catalog.current_database()
            and granted.privilege_type operator(pg_catalog.=) 'CONNECT'
            and role.rolname operator(pg_catalog.=) 'flag_schedules_reader'
    ) into has_reader;

    -- Flags belong to another system: all functions find them, the processor changes only what a schedule changes.
    grant select (id, flag_key, environment) on feature_flags to flag_schedules_api;
    grant select (id, flag_key, environment, enabled, rollout_percentage) on feature_flags to flag_schedules_processor;
    grant update (enabled, rollout_percentage, updated_at) on feature_flags to flag_schedules_processor;

    -- Schedules: created and cancelled by admins, ended by the processor. None of them deletes one or alters the requested change.
    -- Triggers restrict the updates further, to the transitions of each role. The update of `id` is for a create with a known
    -- idempotency key, whose DO UPDATE sets it to itself.
    grant select on feature_flag_schedules to flag_schedules_api, flag_schedules_processor;
    grant insert (id, flag_id, scheduled_at, apply_by, updates, expect, reason, created_by, idempotency_key)
        on feature_flag_schedules to flag_schedules_api;
    grant update (id, status, cancelled_at, cancelled_by, cancel_reason, updated_at)
        on feature_flag_schedules to flag_schedules_api;
    grant update (status, applied_at, failed_at, error_code, error_message, updated_at)
        on feature_flag_schedules to flag_schedules_processor;

    -- The outbox: roles that write events also deliver them. Nobody alters the content of an event. Row-level security
    -- restricts a role to its own types of events.
    grant select, delete on audit_outbox to flag_schedules_api, flag_schedules_processor;
    grant insert (event_id, event_type, context, schedule) on audit_outbox to flag_schedules_api, flag_schedules_processor;
    grant update (refused_at, dead_at, dead_reason) on audit_outbox to flag_schedules_api, flag_schedules_processor;

    -- Everybody may execute functions, unless the database's default privileges say otherwise.
    grant execute on function flag_schedule_document(feature_flag_schedules, pg_catalog.text, pg_catalog.text)
        to flag_schedules_api, flag_schedules_processor;
    grant execute on function
        flag_schedules_hold_events(pg_catalog.interval, pg_catalog.int4, pg_catalog.text[], pg_catalog.text[], pg_catalog.uuid[])
        to flag_schedules_processor;

    if has_reader then
        grant select (id, flag_key, environment) on feature_flags to flag_schedules_reader;
        grant select on feature_flag_schedules, audit_outbox to flag_schedules_reader;
        grant execute on function flag_schedule_document(feature_flag_schedules, pg_catalog.text, pg_catalog.text)
            to flag_schedules_reader;
    end if;
end
$$;
