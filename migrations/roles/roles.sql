-- The service's database roles, and the time that their statements may take. Run once in the service's database, before the
-- first deployment, by its owner (on RDS: the master user) or a superuser. Running it again changes nothing.
--
-- No password stands here. Give each role one (\password in psql), or with DATABASE_AUTH=iam: grant rds_iam to ...
-- What the roles may do with the tables comes with every release: the `migrate` function runs grants.sql.

do $$
declare
    service_role text;
    adopted record;
begin
    foreach service_role in array array['flag_schedules_migrate', 'flag_schedules_api', 'flag_schedules_processor'] loop
        if not exists (select from pg_roles where rolname = service_role) then
            execute format('create role %I login', service_role);
        end if;
        -- Also the sign for `migrate` that this is a database of these roles: a server's roles are there for all of its databases.
        execute format('grant connect on database %I to %I', current_database(), service_role);
    end loop;

    -- Tables that are there already: whoever alters a table has to own it, or be a member of the role that does.
    for adopted in
        select c.relname as name, c.relowner::regrole as owner
        from pg_class c
        where c.oid in (
                to_regclass('public.feature_flags'),
                to_regclass('public.feature_flag_schedules'),
                to_regclass('public.audit_outbox'),
                to_regclass('public.flag_schedules_schema_history')
            )
            and not pg_has_role('flag_schedules_migrate', c.relowner, 'usage')
        order by c.relname
    loop
        raise warning '% belongs to %, and flag_schedules_migrate may not alter it', adopted.name, adopted.owner
            using hint = format('grant %s to flag_schedules_migrate, or: alter table %s owner to flag_schedules_migrate '
                '(after: grant flag_schedules_migrate to current_user)', adopted.owner, adopted.name);
    end loop;
end
$$;

grant usage on schema public to flag_schedules_api, flag_schedules_processor;
grant usage, create on schema public to flag_schedules_migrate;

-- Limits nest: a lock's < a statement's < what the service waits for an answer < the function's; docs/operations.md has them
-- all. A migration waits for a table's lock for less time than others wait behind it.
alter role flag_schedules_api set lock_timeout = '2s';
alter role flag_schedules_api set statement_timeout = '4s';
alter role flag_schedules_api set idle_in_transaction_session_timeout = '10s';

alter role flag_schedules_processor set lock_timeout = '2s';
alter role flag_schedules_processor set statement_timeout = '5s';
alter role flag_schedules_processor set idle_in_transaction_session_timeout = '10s';

alter role flag_schedules_migrate set lock_timeout = '1s';
alter role flag_schedules_migrate set statement_timeout = '50s';
alter role flag_schedules_migrate set idle_in_transaction_session_timeout = '60s';

-- A grant by somebody who may not give it is no error to PostgreSQL, only a warning.
do $$
begin
    if 3 <> (
        select count(distinct granted.grantee)
        from pg_database database
        cross join aclexplode(database.datacl) granted
        where database.datname = current_database()
            and granted.privilege_type = 'CONNECT'
            and granted.grantee::regrole::text in
                ('flag_schedules_migrate', 'flag_schedules_api', 'flag_schedules_processor')
    ) or not has_schema_privilege('flag_schedules_migrate', 'public', 'create') then
        raise exception 'the roles have not got their rights in %', current_database()
            using hint = 'run this file as the owner of the database, or as a superuser';
    end if;
end
$$;
