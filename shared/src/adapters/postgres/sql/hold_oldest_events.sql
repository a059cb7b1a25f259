-- hold_oldest_events: locks the oldest undelivered events of at least this age and of these types, except those already
-- tried, skipping events that another process is delivering. Selects by age and never by "greater than the last id": a
-- lower id can commit later.
with
-- Keys only: with statistics from before a large backlog, the whole backlog is sorted.
oldest as materialized (
    select event_id, written_at
    from audit_outbox
    where dead_at is null
        and written_at <= pg_catalog.now() - pg_catalog.make_interval(secs => $1)
        and event_type = any ($3::text[])
        and event_id <> all ($4::uuid[])
    order by written_at, event_id
    limit $2
    for update skip locked
)
select held.event_id, held.event_type, held.context, held.schedule, held.refused_before
from oldest
cross join lateral (
    select o.event_id, o.event_type, o.context, o.schedule, o.refused_at is not null as refused_before
    from audit_outbox o
    where o.event_id = oldest.event_id
    offset 0
) held
order by oldest.written_at, oldest.event_id
