-- create_schedule: stores a pending schedule and its audit event. Always returns one row.
with
-- The flag, if it exists.
flag as (
    select id, flag_key, environment
    from feature_flags
    where flag_key operator(pg_catalog.=) $1 and environment operator(pg_catalog.=) $2
),
-- What an earlier attempt of this request stored, if its response was lost ($13).
stored_before as (
    select flag_schedule_document(s, (select flag_key::text from flag), (select environment::text from flag)) as schedule
    from feature_flag_schedules s
    where $13 and s.id = $3
),
-- The schedule, if `scheduled_at` is valid by the database's clock: later than now, at most 366 days of 24 hours ahead. An
-- idempotency key that was used before returns the schedule created then, however late the retry. DO UPDATE instead of DO
-- NOTHING, so that a row is returned even while another transaction is inserting it.
created as (
    insert into feature_flag_schedules as s
        (id, flag_id, scheduled_at, apply_by, updates, expect, reason, created_by, idempotency_key)
    select $3, flag.id, $4, $5, $6, $7, $8, $9, $10
    from flag
    where not exists (select from stored_before)
        and (
            ($4 > pg_catalog.now() and $4 <= pg_catalog.now() + interval '8784 hours')
            -- Not `exists`: a plan made while the table was small would read all of it.
            or (
                select true from feature_flag_schedules earlier
                where earlier.flag_id = flag.id and earlier.created_by = $9 and earlier.idempotency_key = $10
            )
        )
    on conflict (flag_id, created_by, idempotency_key) where idempotency_key is not null
    do update set id = s.id
    returning
        -- If a trigger or a default wrote something else, the cast raises an error and nothing is stored.
        case
            when s.id <> $3 or (s.status = 'pending' and s.created_at is not null) then true
            else ('the new row is not as it should be: status ' || coalesce(s.status, 'null')
                || ', created_at ' || coalesce(s.created_at::text, 'null'))::boolean
        end as is_stored,
        s.id, s.scheduled_at, s.apply_by, s.updates, s.expect, s.reason,
        flag_schedule_document(s, (select flag_key::text from flag), (select environment::text from flag)) as schedule
)
-- outbox:
-- Its audit event, if this request created the schedule.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select $11, 'flag_schedule.created', $12, created.schedule
    from created
    where created.id = $3
    on conflict (event_id) do nothing
    returning event_id
)
-- :outbox
select
    pg_catalog.now() as database_now,
    exists (select from flag) as flag_exists,
    -- outbox:
    -- If a trigger kept the event from being stored, the cast raises an error and nothing is stored.
    case
        when exists (select from audited) or not exists (select from created where created.id = $3) then true
        else ('the audit event was not stored: ' || coalesce((select created.id::text from created), 'null'))::boolean
    end as is_audited,
    -- :outbox
    exists (select from stored_before) or exists (select from created where created.id = $3 and created.is_stored) as is_ours,
    coalesce((select created.schedule from created), (select stored_before.schedule from stored_before)) as schedule,
    (
        select created.scheduled_at = $4 and created.apply_by is not distinct from $5
            and created.updates = $6 and created.expect is not distinct from $7
            and created.reason is not distinct from $8
        from created
    ) as same_body,
    -- Evaluated last, after the change, so that the transaction has an id.
    pg_catalog.pg_current_xact_id_if_assigned()::text as transaction_id
