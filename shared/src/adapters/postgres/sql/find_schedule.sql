-- find_schedule: one schedule by its id, as callers and the audit trail see it.
select to_jsonb(s) || jsonb_build_object('flag_key', f.flag_key, 'environment', f.environment) as schedule
from (
    select
        flag_id, id, scheduled_at, apply_by, status, updates, reason, created_at, created_by,
        cancelled_at, cancelled_by, cancel_reason, applied_at, failed_at, error_code, error_message
    from feature_flag_schedules
    where id = $1
) s
join feature_flags f on f.id = s.flag_id
