-- The role that deletes schedules which ended long ago (docs/database.md, "Retention"). Optional: the service runs without it,
-- and then keeps every schedule. Run in the service's database by who runs roles.sql; then invoke `migrate`, which grants the
-- role its only privilege, to execute flag_schedules_delete_ended. Running it again changes nothing.
--
-- Sets no password: \password flag_schedules_retention in psql, or with IAM authentication: grant rds_iam to ..., as in roles.sql.

do $$
declare
    left_behind record;
begin
    if not exists (
        select from pg_catalog.pg_roles where rolname operator(pg_catalog.=) 'flag_schedules_retention'::pg_catalog.name
    ) then
        create role flag_schedules_retention login;
    end if;
    -- Also tells `migrate` that this database uses the role, which exists for all databases of the server.
    execute pg_catalog.format('grant connect on database %I to flag_schedules_retention', pg_catalog.current_database());

    -- The function runs as its owner: it does not follow tables that were given to somebody else.
    for left_behind in
        select f.oid::pg_catalog.regprocedure as name, f.proowner::pg_catalog.regrole as owner,
            c.relowner::pg_catalog.regrole as owner_of_table
        from pg_catalog.pg_proc f
        join pg_catalog.pg_class c on c.relnamespace operator(pg_catalog.=) f.pronamespace
        where f.proname operator(pg_catalog.=) 'flag_schedules_delete_ended'::pg_catalog.name
            and c.relname operator(pg_catalog.=) 'feature_flag_schedules'::pg_catalog.name
            and not pg_catalog.pg_has_role(f.proowner, c.relowner, 'usage')
    loop
        raise warning '% belongs to %, and feature_flag_schedules to %', left_behind.name, left_behind.owner, left_behind.owner_of_table
            using hint = pg_catalog.format('alter function %s owner to %s', left_behind.name, left_behind.owner_of_table);
    end loop;
end
$$;

grant usage on schema public to flag_schedules_retention;

-- A batch waits for no row, and for a table that a migration has locked no longer than this.
alter role flag_schedules_retention set lock_timeout = '1s';
alter role flag_schedules_retention set statement_timeout = '10s';
alter role flag_schedules_retention set idle_in_transaction_session_timeout = '10s';
alter role flag_schedules_retention set default_transaction_isolation = 'read committed';

-- PostgreSQL only warns if the current role may not grant a privilege; this makes it an error.
do $$
begin
    if not exists (
        select from pg_catalog.pg_database database
        cross join pg_catalog.aclexplode(database.datacl) granted
        join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) granted.grantee
        where database.datname operator(pg_catalog.=) pg_catalog.current_database()
            and granted.privilege_type operator(pg_catalog.=) 'CONNECT'
            and role.rolname operator(pg_catalog.=) 'flag_schedules_retention'::pg_catalog.name
    ) then
        raise exception 'the role has not got its rights in %', pg_catalog.current_database()
            using hint = 'run this file as the owner of the database, or as a superuser';
    end if;
end
$$;
