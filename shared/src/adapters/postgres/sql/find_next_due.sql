-- find_next_due: in how many seconds the next pending schedule comes due, and how many seconds ago the last one that is still pending
-- came due, by the clock at this moment; null if there is none. Times as numbers, because not every server can subtract from infinity.
select
    (
        select (extract(epoch from s.scheduled_at) - extract(epoch from pg_catalog.clock_timestamp()))::float8
        from feature_flag_schedules s
        where s.status = 'pending' and s.scheduled_at > pg_catalog.now()
        order by s.scheduled_at
        limit 1
    ) as next_seconds,
    (
        select (extract(epoch from pg_catalog.clock_timestamp()) - extract(epoch from s.scheduled_at))::float8
        from feature_flag_schedules s
        where s.status = 'pending' and s.scheduled_at <= pg_catalog.now()
        order by s.scheduled_at desc
        limit 1
    ) as last_seconds_ago
