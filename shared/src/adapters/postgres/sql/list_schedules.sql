-- list_schedules: returns one page of a flag's schedules; one row of nulls for a flag without schedules; no row if there is
-- no such flag. There is no final sort, so each row is sent as soon as it is produced.
select page.id, page.scheduled_at, page.schedule
from feature_flags flag
left join lateral (
    select s.id, s.scheduled_at, flag_schedule_document(s, flag.flag_key::text, flag.environment::text) as schedule
    from feature_flag_schedules s
    where s.flag_id = flag.id
        and ($3::text is null or s.status = $3)
        and ($4::timestamptz is null or (s.scheduled_at, s.id) > ($4, $5))
    order by s.scheduled_at, s.id
    limit $6
) page on true
where flag.flag_key operator(pg_catalog.=) $1 and flag.environment operator(pg_catalog.=) $2
