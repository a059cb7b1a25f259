-- The service's database roles, with their timeouts and search path. Run in the service's database before the first deployment,
-- and again before upgrading to a release that adds a role, as the database's owner (on RDS: the master user) or a superuser.
-- Running it again changes nothing.
--
-- This file sets no passwords. Give each role one (\password in psql), or with DATABASE_AUTH=iam: grant rds_iam to ... RDS then
-- admits members of the roles with tokens only, and from PostgreSQL 16 on who runs this file becomes one: see "Members of these
-- roles" in docs/operations.md before that grant.
-- Table privileges ship with every release: the `migrate` function runs grants.sql.

do $$
declare
    service_role pg_catalog.text;
    adopted record;
begin
    foreach service_role in array
        array['flag_schedules_migrate', 'flag_schedules_api', 'flag_schedules_processor', 'flag_schedules_reader']
    loop
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
                '(in one transaction with, before: grant flag_schedules_migrate to current_user, and after: revoke '
                'flag_schedules_migrate from current_user)', adopted.owner, adopted.name);
    end loop;
end
$$;

grant usage on schema public to flag_schedules_api, flag_schedules_processor, flag_schedules_reader;
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

alter role flag_schedules_reader set lock_timeout = '2s';
alter role flag_schedules_reader set statement_timeout = '4s';
alter role flag_schedules_reader set idle_in_transaction_session_timeout = '10s';
alter role flag_schedules_reader set default_transaction_isolation = 'read committed';
alter role flag_schedules_reader set default_transaction_read_only = on;

alter role flag_schedules_migrate set lock_timeout = '1s';
alter role flag_schedules_migrate set statement_timeout = '50s';
alter role flag_schedules_migrate set idle_in_transaction_session_timeout = '60s';
alter role flag_schedules_migrate set default_transaction_isolation = 'read committed';

-- Temporary tables come last: otherwise one that a trigger creates in the session of a function would hide the service's table
-- of that name. In this database only, and after whatever search path is in force: the role's own, or the database's.
do $$
declare
    service_role pg_catalog.text;
    path pg_catalog.text;
    before pg_catalog.text := pg_catalog.current_setting('search_path');
begin
    foreach service_role in array
        array['flag_schedules_migrate', 'flag_schedules_api', 'flag_schedules_processor', 'flag_schedules_reader']
    loop
        select pg_catalog.substr(setting.said, 13) into path -- after `search_path=`
        from pg_catalog.pg_db_role_setting s
        cross join pg_catalog.unnest(s.setconfig) as setting (said)
        left join pg_catalog.pg_database d on d.oid operator(pg_catalog.=) s.setdatabase
        left join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) s.setrole
        where pg_catalog.starts_with(setting.said, 'search_path=')
            and coalesce(d.datname operator(pg_catalog.=) pg_catalog.current_database(), true)
            and coalesce(role.rolname operator(pg_catalog.=) service_role::pg_catalog.name, true)
            and (d.oid is not null or role.oid is not null)
        order by role.oid is null, d.oid is null
        limit 1;
        path := coalesce(path, 'public');
        if path operator(pg_catalog.!~) '\mpg_temp\M' then
            perform pg_catalog.set_config('search_path', path operator(pg_catalog.||) ', pg_temp', true);
            execute pg_catalog.format(
                'alter role %I in database %I set search_path from current', service_role, pg_catalog.current_database()
            );
        end if;
    end loop;
    perform pg_catalog.set_config('search_path', before, true);

    if exists (
        select from pg_catalog.pg_namespace n
        cross join pg_catalog.aclexplode(n.nspacl) granted
        where n.nspname operator(pg_catalog.=) 'public'
            and granted.grantee operator(pg_catalog.=) 0::pg_catalog.oid
            and granted.privilege_type operator(pg_catalog.=) 'CREATE'
    ) then
        raise warning 'every user of this database may create objects in the schema public'
            using hint = 'if no other tool depends on that: revoke create on schema public from public';
    end if;
end
$$;

-- PostgreSQL only warns if the current role may not grant a privilege; this makes it an error.
do $$
begin
    if 4 operator(pg_catalog.<>) (
        select pg_catalog.count(distinct granted.grantee)
        from pg_catalog.pg_database database
        cross join pg_catalog.aclexplode(database.datacl) granted
        join pg_catalog.pg_roles role on role.oid operator(pg_catalog.=) granted.grantee
        where database.datname operator(pg_catalog.=) pg_catalog.current_database()
            and granted.privilege_type operator(pg_catalog.=) 'CONNECT'
            and role.rolname operator(pg_catalog.=) any (
                '{flag_schedules_migrate,flag_schedules_api,flag_schedules_processor,flag_schedules_reader}'::pg_catalog.name[]
            )
    ) or not pg_catalog.has_schema_privilege('flag_schedules_migrate', 'public', 'create') then
        raise exception 'the roles have not got their rights in %', pg_catalog.current_database()
            using hint = 'run this file as the owner of the database, or as a superuser';
    end if;
end
$$;
