-- list_schedules: one page of a flag's schedules. A flag without schedules gives one row of nulls, no flag no row. The rows
-- are not sorted once more at the end: so each is sent when it is made, and not when all are.
select
    page.id,
    page.scheduled_at,
    to_jsonb(page) || jsonb_build_object('flag_key', flag.flag_key, 'environment', flag.environment) as schedule
from feature_flags flag
left join lateral (
    select
        s.id, s.scheduled_at, s.apply_by, s.status, s.updates, s.reason, s.created_at, s.created_by,
        s.cancelled_at, s.cancelled_by, s.cancel_reason, s.applied_at, s.failed_at, s.error_code, s.error_message
    from feature_flag_schedules s
    where s.flag_id = flag.id
        and ($3::text is null or s.status = $3)
        and ($4::timestamptz is null or (s.scheduled_at, s.id) > ($4, $5))
    order by s.scheduled_at, s.id
    limit $6
) page on true
where flag.flag_key = $1 and flag.environment = $2
