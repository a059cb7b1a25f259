-- record_outcomes: stores what became of a batch: flags, schedules and audit events together.
with
-- The flags' state after the batch.
changed as (
    update feature_flags f
    set enabled = c.enabled, rollout_percentage = c.rollout_percentage, updated_at = now()
    from unnest($1::uuid[], $2::boolean[], $3::integer[]) as c (id, enabled, rollout_percentage)
    where f.id = c.id
    returning f.id
),
outcome as (
    select o.id, o.event_id, o.status, o.error_code, o.error_message, o.change
    from unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::jsonb[])
        as o (id, event_id, status, error_code, error_message, change)
),
ended as (
    update feature_flag_schedules s
    set
        status = o.status,
        applied_at = case when o.status = 'applied' then now() end,
        failed_at = case when o.status = 'failed' then now() end,
        error_code = o.error_code,
        error_message = o.error_message,
        updated_at = now()
    from outcome o
    where s.id = o.id and s.status = 'pending'
    returning
        s.flag_id, s.id, s.scheduled_at, s.apply_by, s.status, s.updates, s.reason, s.created_at, s.created_by,
        s.cancelled_at, s.cancelled_by, s.cancel_reason, s.applied_at, s.failed_at, s.error_code, s.error_message
),
-- The schedules as the audit trail sees them.
stored as (
    select
        ended.id,
        to_jsonb(ended) || jsonb_build_object('flag_key', f.flag_key, 'environment', f.environment) as schedule
    from ended
    join feature_flags f on f.id = ended.flag_id
)
-- outbox:
-- Their audit events.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select
        o.event_id,
        'flag_schedule.' || o.status,
        case when o.change is null then $10 else $10 || jsonb_build_object('change', o.change) end,
        stored.schedule
    from stored
    join outcome o on o.id = stored.id
)
-- :outbox
select
    (select count(*) from changed) as flags_changed,
    (select count(*) from ended) as schedules_ended,
    -- Only for events that must be delivered from memory.
    case when $11 then (select jsonb_agg(stored.schedule) from stored) end as schedules
