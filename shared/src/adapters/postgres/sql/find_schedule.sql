-- find_schedule: returns one schedule of a flag, null if the flag has none of this id; no row if there is no such flag.
select (
    select flag_schedule_document(s, flag.flag_key::text, flag.environment::text)
    from feature_flag_schedules s
    where s.id = $3 and s.flag_id = flag.id
) as schedule
from feature_flags flag
where flag.flag_key operator(pg_catalog.=) $1 and flag.environment operator(pg_catalog.=) $2
