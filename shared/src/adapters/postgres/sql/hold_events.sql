-- hold_events: locks these events for delivery, skipping events that another process is delivering and types that this
-- release does not know. One primary key lookup for each id, whatever the statistics say. The index of undelivered events
-- also contains the ids, and with statistics from before the rows were written the planner would scan it in full for every
-- id. So the condition on `dead_at` is written in a form that this partial index cannot serve.
select held.event_id, held.event_type, held.context, held.schedule, held.refused_before
from pg_catalog.unnest($1::uuid[]) as wanted (event_id)
cross join lateral (
    select o.event_id, o.event_type, o.context, o.schedule, o.refused_at is not null as refused_before
    from audit_outbox o
    where o.event_id = wanted.event_id
        and o.event_type = any ($2::text[])
        and coalesce(o.dead_at, 'infinity') = 'infinity'
    for update skip locked
) held
