-- hold_events: locks the oldest undelivered events, skipping those that another process is delivering: of the types that this
-- release knows ($3), at least this old ($1) or of a type that only the processor delivers ($4), and not tried yet ($5). Selects
-- by age and never by "greater than the last id": a lower id can commit later.
select held.place, held.event_id, held.event_type, held.context, held.schedule, held.refused_before
from flag_schedules_hold_events(pg_catalog.make_interval(secs => $1), $2, $3, $4, $5) as held
