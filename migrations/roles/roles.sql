-- The service's database roles and their timeouts. Run once in the service's database, before the first deployment, as its
-- owner (on RDS: the master user) or a superuser. Running it again changes nothing.
--
-- This file sets no passwords. Give each role one (\password in psql), or with DATABASE_AUTH=iam: grant rds_iam to ...
-- Table privileges ship with every release: the `migrate` function runs grants.sql.

do $$
declare
    service_role pg_catalog.text;
    adopted record;
begin
    foreach service_role in array array['flag_schedules_migrate', 'flag_schedules_api', 'flag_schedules_processor'] loop
        if not exists (
            select from pg_catalog.pg_roles where rolname operator(pg_catalog.=) service_role::pg_catalog.name
        ) then
            execute pg_catalog.format('create role %I login', service_role);
        end if;
        -- Also tells `migrate` that this database uses these roles, which exist for all databases of the server.
        execute pg_catalog.format(
            'grant connect on database %I to %I', pg_catalog.current_database(), service_role
        );
    end loop;

    -- Existing tables: a role that alters a table must own it, or be a member of the role that does.
    for adopted in
        select c.relname as name, c.relowner::pg_catalog.regrole as owner
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
        where n.nspname operator(pg_catalog.=) 'public'
            and c.relname operator(pg_catalog.=) any (
                '{feature_flags,feature_flag_schedules,audit_outbox,flag_schedules_schema_history}'::pg_catalog.name[]
            )
            and not pg_catalog.pg_has_role('flag_schedules_migrate', c.relowner, 'usage')
        order by c.relname
    loop
        raise warning '% belongs to %, and flag_schedules_migrate may not alter it', adopted.name, adopted.owner
            using hint = pg_catalog.format('grant %s to flag_schedules_migrate, or: alter table %s owner to flag_schedules_migrate '
                '(after: grant flag_schedules_migrate to current_user)', adopted.owner, adopted.name);
    end loop;
end
$$;

grant usage on schema public to flag_schedules_api, flag_schedules_processor;
grant usage, create on schema public to flag_schedules_migrate;

-- Timeouts nest: lock < statement < the service's wait for a response < the function; docs/operations.md lists them all. A
-- migration waits for a table lock for less time than others wait behind it. The functions rely on seeing what others
-- committed while they waited for a lock, whatever the database's default isolation level is.
alter role flag_schedules_api set lock_timeout = '2s';
alter role flag_schedules_api set statement_timeout = '4s';
alter role flag_schedules_api set idle_in_transaction_session_timeout = '10s';
alter role flag_schedules_api set default_transaction_isolation = 'read committed';

alter role flag_schedules_processor set lock_timeout = '2s';
alter role flag_schedules_processor set statement_timeout = '5s';
alter role flag_schedules_processor set idle_in_transaction_session_timeout = '10s';
alter role flag_schedules_processor set default_transaction_isolation = 'read committed';

alter role flag_schedules_migrate set lock_timeout = '1s';
alter role flag_schedules_migrate set statement_timeout = '50s';
alter role flag_schedules_migrate set idle_in_transaction_session_timeout = '60s';
alter role flag_schedules_migrate set default_transaction_isolation = 'read committed';

-- PostgreSQL only warns if the current role may not grant a privilege; this makes it an error.
do $$
begin
    if 3 operator(pg_catalog.<>) (
        select pg_catalog.count(distinct granted.grantee)
        from pg_catalog.pg_database database
        cross join pg_catalog.aclexplode(database.datacl) granted
        join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) granted.grantee
        where database.datname operator(pg_catalog.=) pg_catalog.current_database()
            and granted.privilege_type operator(pg_catalog.=) 'CONNECT'
            and role.rolname operator(pg_catalog.=) any (
                '{flag_schedules_migrate,flag_schedules_api,flag_schedules_processor}'::pg_catalog.name[]
            )
    ) or not pg_catalog.has_schema_privilege('flag_schedules_migrate', 'public', 'create') then
        raise exception 'the roles have not got their rights in %', pg_catalog.current_database()
            using hint = 'run this file as the owner of the database, or as a superuser';
    end if;
end
$$;
