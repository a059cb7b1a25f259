-- find_schedules: returns schedules by id. The first condition is redundant: it makes the planner look rows up by primary
-- key instead of scanning a large table.
select flag_schedule_document(s, f.flag_key::text, f.environment::text) as schedule
from pg_catalog.unnest($1::pg_catalog.uuid[]) as wanted (id)
join feature_flag_schedules s on s.id operator(pg_catalog.=) wanted.id
join feature_flags f on f.id operator(pg_catalog.=) s.flag_id
where s.id operator(pg_catalog.=) any ($1::pg_catalog.uuid[])
