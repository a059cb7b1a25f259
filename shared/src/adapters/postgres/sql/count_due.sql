-- count_due: counts due schedules that are still pending.
select
    count(*) as due,
    extract(epoch from now() - min(scheduled_at))::float8 as oldest_age_seconds
from feature_flag_schedules
where status = 'pending' and scheduled_at <= now()
