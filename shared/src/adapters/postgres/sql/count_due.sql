-- count_due: counts due schedules that are still pending.
select
    pg_catalog.count(*) as due,
    extract(epoch from pg_catalog.now() - pg_catalog.min(scheduled_at))::float8 as oldest_age_seconds
from feature_flag_schedules
where status = 'pending' and scheduled_at <= pg_catalog.now()
