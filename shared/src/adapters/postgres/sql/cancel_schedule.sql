-- cancel_schedule: cancels a pending schedule and stores its audit event. Always returns one row.
with
-- The flag, if it exists.
flag as (
    select id, flag_key, environment
    from feature_flags
    where flag_key operator(pg_catalog.=) $1 and environment operator(pg_catalog.=) $2
),
-- The schedule, locked. After waiting for another transaction, this is the row as that one left it; a plain read next to
-- the update would still see the row as it was before.
found as (
    select
        s.id, s.status, s.cancelled_by, s.cancel_reason, s.cancelled_at,
        flag_schedule_document(s, flag.flag_key::text, flag.environment::text) as schedule
    from feature_flag_schedules s
    join flag on flag.id = s.flag_id
    where s.id = $3
    for no key update of s
),
cancelled as (
    update feature_flag_schedules s
    set
        status = 'cancelled',
        cancelled_at = pg_catalog.now(),
        cancelled_by = $4,
        cancel_reason = $5,
        updated_at = pg_catalog.now()
    from found
    where s.id = found.id and found.status = 'pending'
    returning
        -- If a trigger wrote something else, the cast raises an error and nothing is stored.
        case
            when s.status = 'cancelled' and s.cancelled_at is not null then true
            else ('a trigger changed the cancellation: status ' || coalesce(s.status, 'null'))::boolean
        end as is_stored,
        flag_schedule_document(s, (select flag_key::text from flag), (select environment::text from flag)) as schedule
)
-- outbox:
-- Its audit event.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select $6, 'flag_schedule.cancelled', $7, cancelled.schedule
    from cancelled
    returning event_id
)
-- :outbox
select
    exists (select from flag) as flag_exists,
    -- outbox:
    -- If a trigger kept the event from being stored, the cast raises an error and nothing is stored.
    case
        when exists (select from audited) or not exists (select from cancelled) then true
        else ('the audit event was not stored: ' || coalesce((select cancelled.schedule ->> 'id' from cancelled), 'null'))::boolean
    end as is_audited,
    -- :outbox
    (select cancelled.schedule from cancelled where cancelled.is_stored) as cancelled,
    -- It was pending, but the update did not happen.
    (select found.status = 'pending' from found) and not exists (select from cancelled) as is_suppressed,
    (select found.schedule from found) as found,
    -- Whether an earlier attempt of this request, whose response was lost ($8), cancelled it: recently, by this admin, for
    -- this reason, and with this event if that can be determined.
    $8
    -- outbox:
    and exists (select from audit_outbox where event_id = $6)
    -- :outbox
    and (
        select found.status = 'cancelled' and found.cancelled_by = $4 and found.cancel_reason is not distinct from $5
            and found.cancelled_at > pg_catalog.now() - interval '30 seconds'
        from found
    ) as cancelled_before,
    -- Evaluated last, after the change, so that the transaction has an id.
    pg_catalog.pg_current_xact_id_if_assigned()::text as transaction_id
