-- cancel_schedule: cancels a pending schedule together with its audit event. One row comes back, whatever happened.
with
-- The flag, if it is there.
flag as (
    select id, flag_key, environment
    from feature_flags
    where flag_key = $1 and environment = $2
),
-- The schedule, locked: after a wait for somebody else this is what they left, where a plain read next to the update
-- would still show what was there before.
found as (
    select
        s.id, s.status, s.cancelled_by, s.cancel_reason, s.cancelled_at,
        flag_schedule_document(s, flag.flag_key, flag.environment) as schedule
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
        -- A trigger may have written something else: then this is an error, and nothing is stored.
        case
            when s.status = 'cancelled' and s.cancelled_at is not null then true
            else ('a trigger changed the cancellation: status ' || coalesce(s.status, 'null'))::boolean
        end as is_stored,
        flag_schedule_document(s, $1, $2) as schedule
)
-- outbox:
-- Its audit event.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select $6, 'flag_schedule.cancelled', $7, cancelled.schedule
    from cancelled
)
-- :outbox
select
    exists (select from flag) as flag_exists,
    (select cancelled.schedule from cancelled where cancelled.is_stored) as cancelled,
    -- It could have been cancelled, and was not.
    (select found.status = 'pending' from found) and not exists (select from cancelled) as is_suppressed,
    (select found.schedule from found) as found,
    -- Whether an attempt of this request whose answer was lost ($8) has cancelled it: a moment ago, by this admin, for this
    -- reason, and with this event where that can be told.
    $8
    -- outbox:
    and exists (select from audit_outbox where event_id = $6)
    -- :outbox
    and (
        select found.status = 'cancelled' and found.cancelled_by = $4 and found.cancel_reason is not distinct from $5
            and found.cancelled_at > now() - interval '30 seconds'
        from found
    ) as cancelled_before,
    -- Last, when the change has been made and the transaction has an id.
    pg_current_xact_id_if_assigned()::text as transaction_id
