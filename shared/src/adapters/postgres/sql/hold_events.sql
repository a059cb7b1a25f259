-- hold_events: locks the oldest undelivered events, skipping those that another process is delivering: of the types that this
-- release knows ($3), at least this old ($1) or of a type that only the processor delivers ($4), and not tried yet ($5). Selects
-- by age and never by "greater than the last id": a lower id can commit later. The function reads the index in its order,
-- whatever the statistics say.
select held.event_id, held.event_type, held.context, held.schedule, held.refused_before
from flag_schedules_hold_events(pg_catalog.make_interval(secs => $1), $2, $3, $4, $5)
    with ordinality as oldest (event_id, position)
cross join lateral (
    select o.event_id, o.event_type, o.context, o.schedule, o.refused_at is not null as refused_before
    from audit_outbox o
    where o.event_id = oldest.event_id
    offset 0
) held
order by oldest.position
