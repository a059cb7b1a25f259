-- hold_oldest_events: locks the oldest undelivered events of at least this age and of these types, without those that have
-- been tried; those that somebody else delivers are skipped. By age and never by "greater than the last id": a lower id
-- can commit later.
select event_id, event_type, context, schedule, refused_at is not null as refused_before
from audit_outbox
where dead_at is null
    and written_at <= now() - make_interval(secs => $1)
    and event_type = any ($3::text[])
    and event_id <> all ($4::uuid[])
order by written_at, event_id
limit $2
for update skip locked
