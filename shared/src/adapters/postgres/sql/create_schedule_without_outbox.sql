-- create_schedule_without_outbox: stores a pending schedule alone, where the outbox cannot be written. One row comes back, whatever happened.
with
-- The flag, if it is there.
flag as (
    select id, flag_key, environment
    from feature_flags
    where flag_key = $1 and environment = $2
),
-- The schedule, if the database's clock agrees: later than now, at most 366 days of 24 hours ahead.
created as (
    insert into feature_flag_schedules (id, flag_id, scheduled_at, apply_by, updates, reason, created_by)
    select $3, flag.id, $4, $5, $6, $7, $8
    from flag
    where $4 > now() and $4 <= now() + interval '8784 hours'
    returning
        id, scheduled_at, apply_by, status, updates, reason, created_at, created_by,
        cancelled_at, cancelled_by, cancel_reason, applied_at, failed_at, error_code, error_message
),
-- The schedule as callers and the audit trail see it.
stored as (
    select to_jsonb(created) || jsonb_build_object('flag_key', flag.flag_key, 'environment', flag.environment) as schedule
    from created cross join flag
)
select
    now() as database_now,
    exists (select from flag) as flag_exists,
    (select stored.schedule from stored) as schedule
