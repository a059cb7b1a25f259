-- record_outcomes: stores the outcomes of a batch: flags, schedules and audit events.
with
-- The flags' state after the batch. The first condition is redundant: it makes the planner look rows up by primary key instead
-- of scanning a large table.
changed as (
    update feature_flags f
    set enabled = c.enabled, rollout_percentage = c.rollout_percentage, updated_at = pg_catalog.now()
    from unnest($1::uuid[], $2::boolean[], $3::integer[]) as c (id, enabled, rollout_percentage)
    where f.id = any ($1::uuid[]) and f.id = c.id
    returning f.id
),
outcome as (
    select o.id, o.place, o.event_id, o.status, o.error_code, o.error_message, o.facts, o.position
    from unnest($4::uuid[], $5::tid[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::jsonb[])
        with ordinality as o (id, place, event_id, status, error_code, error_message, facts, position)
),
-- Where they were when `read_due` locked them. (With `status =`, the planner might read all pending rows.)
ended as (
    update feature_flag_schedules s
    set
        status = o.status,
        applied_at = case when o.status = 'applied' then pg_catalog.now() end,
        failed_at = case when o.status = 'failed' then pg_catalog.now() end,
        error_code = o.error_code,
        error_message = o.error_message,
        updated_at = pg_catalog.now()
    from outcome o, feature_flags f
    where s.ctid = o.place and s.id = o.id and s.status is not distinct from 'pending' and f.id = s.flag_id
    returning
        o.event_id, o.status, o.facts, o.position,
        -- If a trigger wrote something else, the cast raises an error and nothing is stored.
        case
            when s.status = o.status and pg_catalog.num_nonnulls(s.applied_at, s.failed_at) = 1 then true
            else ('a trigger changed the outcome: status ' || coalesce(s.status, 'null'))::boolean
        end as is_stored,
        flag_schedule_document(s, f.flag_key::text, f.environment::text) as schedule
)
-- outbox:
-- Their audit events.
, audited as (
    insert into audit_outbox (event_id, event_type, context, schedule)
    select
        ended.event_id,
        'flag_schedule.' || ended.status,
        $11 || ended.facts,
        ended.schedule
    from ended
    returning event_id
)
-- :outbox
select
    (select pg_catalog.count(*) from changed) as flags_changed,
    (select pg_catalog.count(*) from ended where ended.is_stored) as schedules_ended,
    -- outbox:
    (select pg_catalog.count(*) from audited) as events_stored,
    -- :outbox
    -- For finding out whether a commit whose response was lost has happened.
    pg_catalog.pg_current_xact_id()::text as transaction_id,
    -- In the order of the parameters, and only for events that are sent directly.
    case when $12 then (select pg_catalog.jsonb_agg(ended.schedule order by ended.position) from ended) end as schedules
