-- find_next_due: in how many seconds the next pending schedule that is not due yet comes due, by the clock at this moment; no row
-- if there is none. Times as numbers, because not every server can subtract from infinity.
select
    (extract(epoch from s.scheduled_at) - extract(epoch from pg_catalog.clock_timestamp()))::float8 as seconds
from feature_flag_schedules s
where s.status = 'pending' and s.scheduled_at > pg_catalog.now()
order by s.scheduled_at
limit 1
