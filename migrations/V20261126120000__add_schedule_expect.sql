-- The state that a flag must have when a change comes up; null for any. In the document of a row, and in what the guards keep
-- from changing.
alter table feature_flag_schedules add column if not exists expect jsonb;

create or replace function flag_schedule_document(s feature_flag_schedules, flag_key pg_catalog.text, environment pg_catalog.text)
returns pg_catalog.jsonb
language sql stable parallel safe
as $$
    select pg_catalog.jsonb_build_object(
        'id', s.id,
        'flag_key', pg_catalog.left(flag_key, 1000),
        'environment', pg_catalog.left(environment, 1000),
        'scheduled_at', s.scheduled_at,
        'apply_by', s.apply_by,
        'status', pg_catalog.left(s.status, 1000),
        'updates', case
            when pg_catalog.octet_length(s.updates::pg_catalog.text) operator(pg_catalog.<=) 4096 then s.updates
            else pg_catalog.to_jsonb(pg_catalog.left(s.updates::pg_catalog.text, 1000))
        end,
        'expect', case
            when pg_catalog.octet_length(s.expect::pg_catalog.text) operator(pg_catalog.<=) 4096 then s.expect
            else pg_catalog.to_jsonb(pg_catalog.left(s.expect::pg_catalog.text, 1000))
        end,
        'reason', pg_catalog.left(s.reason, 1000),
        'created_at', s.created_at,
        'created_by', pg_catalog.left(s.created_by, 1000),
        'cancelled_at', s.cancelled_at,
        'cancelled_by', pg_catalog.left(s.cancelled_by, 1000),
        'cancel_reason', pg_catalog.left(s.cancel_reason, 1000),
        'applied_at', s.applied_at,
        'failed_at', s.failed_at,
        'error_code', pg_catalog.left(s.error_code, 1000),
        'error_message', pg_catalog.left(s.error_message, 1000)
    )
$$;

-- As before, with the new column.
create or replace trigger flag_schedules_guard_update
    after update on feature_flag_schedules
    for each row
    when ((
        new.id operator(pg_catalog.=) old.id
        and new.flag_id operator(pg_catalog.=) old.flag_id
        and new.scheduled_at operator(pg_catalog.=) old.scheduled_at
        and new.apply_by is not distinct from old.apply_by
        and new.updates is not distinct from old.updates
        and new.expect is not distinct from old.expect
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
