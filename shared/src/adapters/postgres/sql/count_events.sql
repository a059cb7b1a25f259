-- count_events: counts undelivered and dead events. Each figure comes from an index of its own; the events are not read.
select
    (select pg_catalog.count(*) from audit_outbox where dead_at is null) as undelivered,
    (select pg_catalog.count(*) from audit_outbox where dead_at is not null) as dead,
    (
        select extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.min(written_at))
        from audit_outbox
        where dead_at is null
    )::float8 as oldest_age_seconds
