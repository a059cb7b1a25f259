-- cancel_schedule: cancels a pending schedule together with its audit event. One row comes back, whatever happened.
with
-- The flag, if it is there.
flag as (
    select id, flag_key, environment
    from feature_flags
    where flag_key = $1 and environment = $2
),
-- The schedule, locked: after a wait for somebody else this is what they left, where a plain read beside the update
-- would still show what was there before.
found as (
    select
        s.id, s.scheduled_at, s.apply_by, s.status, s.updates, s.reason, s.created_at, s.created_by,
        s.cancelled_at, s.cancelled_by, s.cancel_reason, s.applied_at, s.failed_at, s.error_code, s.error_message
    from feature_flag_schedules s
    join flag on flag.id = s.flag_id
    where s.id = $3
    for no key update of s
),
cancelled as (
    update feature_flag_schedules s
    set status = 'cancelled', cancelled_at = now(), cancelled_by = $4, cancel_reason = $5, updated_at = now()
    from found
    where s.id = found.id and found.status = 'pending'
    returning
        s.id, s.scheduled_at, s.apply_by, s.status, s.updates, s.reason, s.created_at, s.created_by,
        s.cancelled_at, s.cancelled_by, s.cancel_reason, s.applied_at, s.failed_at, s.error_code, s.error_message
),
-- The schedule as callers and the audit trail see it.
stored as (
    select to_jsonb(cancelled) || jsonb_build_object('flag_key', flag.flag_key, 'environment', flag.environment) as schedule
    from cancelled cross join flag
)
-- outbox:
-- Its audit event.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select $6, 'flag_schedule.cancelled', $7, stored.schedule
    from stored
)
-- :outbox
select
    exists (select from flag) as flag_exists,
    (select stored.schedule from stored) as cancelled,
    (
        select to_jsonb(found) || jsonb_build_object('flag_key', flag.flag_key, 'environment', flag.environment)
        from found cross join flag
    ) as found
    -- outbox:
    -- A repetition after a lost answer meets its own event.
    , exists (select from audit_outbox where event_id = $6) as repeated
    -- :outbox
