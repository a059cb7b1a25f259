-- count_events: what waits in the outbox.
select
    count(*) filter (where dead_at is null) as undelivered,
    count(*) filter (where dead_at is not null) as dead,
    extract(epoch from clock_timestamp() - min(written_at) filter (where dead_at is null))::float8 as oldest_age_seconds
from audit_outbox
