-- count_events: what waits in the outbox. Each figure from an index of its own: neither reads the events.
select
    (select count(*) from audit_outbox where dead_at is null) as undelivered,
    (select count(*) from audit_outbox where dead_at is not null) as dead,
    (
        select extract(epoch from clock_timestamp() - min(written_at))
        from audit_outbox
        where dead_at is null
    )::float8 as oldest_age_seconds
