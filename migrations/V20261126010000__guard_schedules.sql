-- History is write-once: what was requested, by whom and when never changes, and a schedule goes from `pending` to exactly one
-- end. Column grants (roles/grants.sql) cannot say that; these triggers do. They bind the service's roles only: to the owner of
-- the table, a superuser and another tool that writes to it they make no difference.
--
-- The condition of the trigger is evaluated for every updated row, without calling a function, and is false for what the
-- service does. So a batch of the processor costs nearly nothing more, and nothing needs to know the roles, which may be
-- created after this migration. It compares times to the second, because a column of an adopted table may have less precision.

-- Whether the current user is one of these roles or a member of one. A role need not exist.
create function flag_schedules_acts_as(roles pg_catalog.text[]) returns pg_catalog.bool
language sql stable
as $$
    select exists (
        select from pg_catalog.unnest(roles) as role (name)
        where pg_catalog.pg_has_role(pg_catalog.to_regrole(role.name)::pg_catalog.oid, 'usage')
    )
$$;

-- Whether the current user acts as one of the service's roles, and does not also own this table.
create function flag_schedules_is_guarded(guarded pg_catalog.oid) returns pg_catalog.bool
language plpgsql stable
as $$
begin
    if not flag_schedules_acts_as('{flag_schedules_api,flag_schedules_processor,flag_schedules_reader}'::pg_catalog.text[]) then
        return false;
    end if;
    -- A superuser has the privileges of every role, this one included.
    return not pg_catalog.pg_has_role(c.relowner, 'usage')
        from pg_catalog.pg_class c
        where c.oid operator(pg_catalog.=) guarded;
end
$$;

create function flag_schedules_refuse() returns trigger
language plpgsql
as $$
begin
    if not flag_schedules_is_guarded(tg_relid) then
        return null;
    end if;
    if tg_level operator(pg_catalog.=) 'STATEMENT' then
        raise exception 'the role % may not % schedules', current_user, pg_catalog.lower(tg_op)
            using errcode = 'insufficient_privilege',
                table = tg_table_name, schema = tg_table_schema,
                hint = 'only the owner of the table may';
    end if;
    raise exception 'the role % may not % schedule % like this', current_user, pg_catalog.lower(tg_op), new.id
        using errcode = 'insufficient_privilege',
            table = tg_table_name, schema = tg_table_schema,
            hint = 'a schedule is created pending and ends once, now, as applied, failed or cancelled; what was requested '
                'never changes';
end
$$;

-- pg_temp last: a temporary table or function must not hide what these functions use.
do $$
begin
    execute pg_catalog.format('alter function flag_schedules_is_guarded set search_path = %I, pg_temp', pg_catalog.current_schema());
    execute pg_catalog.format('alter function flag_schedules_refuse set search_path = %I, pg_temp', pg_catalog.current_schema());
end
$$;

create trigger flag_schedules_guard_insert
    after insert on feature_flag_schedules
    for each row
    when (
        new.status is distinct from 'pending'
        or (pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.now()) operator(pg_catalog.>) '1 minute'::pg_catalog.interval
    )
    execute function flag_schedules_refuse();

create trigger flag_schedules_guard_update
    after update on feature_flag_schedules
    for each row
    when ((
        new.id operator(pg_catalog.=) old.id
        and new.flag_id operator(pg_catalog.=) old.flag_id
        and new.scheduled_at operator(pg_catalog.=) old.scheduled_at
        and new.apply_by is not distinct from old.apply_by
        and new.updates is not distinct from old.updates
        and new.reason is not distinct from old.reason
        and new.created_at is not distinct from old.created_at
        and new.created_by is not distinct from old.created_by
        and new.idempotency_key is not distinct from old.idempotency_key
        and case
            -- No transition: a create with a known idempotency key.
            when new.status is not distinct from old.status then
                new.cancelled_at is not distinct from old.cancelled_at
                and new.cancelled_by is not distinct from old.cancelled_by
                and new.cancel_reason is not distinct from old.cancel_reason
                and new.applied_at is not distinct from old.applied_at
                and new.failed_at is not distinct from old.failed_at
                and new.error_code is not distinct from old.error_code
                and new.error_message is not distinct from old.error_message
            when old.status is distinct from 'pending' then false
            -- A transaction that was begun long ago, or else `now()` would date the transition back.
            when (pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.now())
                operator(pg_catalog.>) '1 minute'::pg_catalog.interval then false
            when (
                case new.status
                    when 'cancelled' then new.cancelled_at
                    when 'applied' then new.applied_at
                    when 'failed' then new.failed_at
                end operator(pg_catalog.<@) pg_catalog.tstzrange(
                    pg_catalog.now() operator(pg_catalog.-) '1 second'::pg_catalog.interval,
                    pg_catalog.now() operator(pg_catalog.+) '1 second'::pg_catalog.interval,
                    '[]'
                )
            ) is not true then false
            when new.status operator(pg_catalog.=) 'cancelled' then
                current_user operator(pg_catalog.<>) 'flag_schedules_processor'
                and new.cancelled_by is not null
                and new.applied_at is not distinct from old.applied_at
                and new.failed_at is not distinct from old.failed_at
                and new.error_code is not distinct from old.error_code
                and new.error_message is not distinct from old.error_message
            else
                current_user operator(pg_catalog.<>) 'flag_schedules_api'
                and old.scheduled_at operator(pg_catalog.<=) pg_catalog.now()
                and new.cancelled_at is not distinct from old.cancelled_at
                and new.cancelled_by is not distinct from old.cancelled_by
                and new.cancel_reason is not distinct from old.cancel_reason
                and case new.status
                    when 'applied' then new.failed_at is null and new.error_code is null and new.error_message is null
                    when 'failed' then new.applied_at is null and new.error_code is not null
                end
        end
    ) is not true)
    execute function flag_schedules_refuse();

create trigger flag_schedules_guard_delete
    before delete or truncate on feature_flag_schedules
    for each statement
    execute function flag_schedules_refuse();
