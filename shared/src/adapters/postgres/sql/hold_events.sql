-- hold_events: locks these events for delivery; those that somebody else delivers are skipped.
select event_id, event_type, context, schedule, refused_at is not null as refused_before
from audit_outbox
where event_id = any ($1) and dead_at is null
order by written_at, event_id
for update skip locked
