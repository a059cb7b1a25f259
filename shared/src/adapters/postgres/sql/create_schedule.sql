-- create_schedule: stores a pending schedule together with its audit event. One row comes back, whatever happened.
with
-- The flag, if it is there.
flag as (
    select id, flag_key, environment
    from feature_flags
    where flag_key = $1 and environment = $2
),
-- The schedule, if the database's clock agrees: later than now, at most 366 days of 24 hours ahead. A key that was used
-- before gives the schedule of that time, however late the retry: DO UPDATE and not DO NOTHING, so that a row comes back
-- also when somebody else is inserting it at this moment.
created as (
    insert into feature_flag_schedules as s
        (id, flag_id, scheduled_at, apply_by, updates, reason, created_by, idempotency_key)
    select $3, flag.id, $4, $5, $6, $7, $8, $9
    from flag
    where ($4 > now() and $4 <= now() + interval '8784 hours')
        or exists (
            select from feature_flag_schedules earlier
            where earlier.flag_id = flag.id and earlier.created_by = $8 and earlier.idempotency_key = $9
        )
    on conflict (flag_id, created_by, idempotency_key) where idempotency_key is not null
    do update set id = s.id
    returning
        s.id, s.scheduled_at, s.apply_by, s.status, s.updates, s.reason, s.created_at, s.created_by,
        s.cancelled_at, s.cancelled_by, s.cancel_reason, s.applied_at, s.failed_at, s.error_code, s.error_message
),
-- The schedule as callers and the audit trail see it.
stored as (
    select to_jsonb(created) || jsonb_build_object('flag_key', flag.flag_key, 'environment', flag.environment) as schedule
    from created cross join flag
)
-- outbox:
-- Its audit event, if it is ours and not one that was there. It may be there already when this is a repetition after a
-- lost answer.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select $10, 'flag_schedule.created', $11, stored.schedule
    from stored
    join created on created.id = $3
    on conflict (event_id) do nothing
)
-- :outbox
select
    now() as database_now,
    exists (select from flag) as flag_exists,
    (select stored.schedule from stored) as schedule,
    (
        select created.scheduled_at = $4 and created.apply_by is not distinct from $5
            and created.updates = $6 and created.reason is not distinct from $7
        from created
    ) as same_body
