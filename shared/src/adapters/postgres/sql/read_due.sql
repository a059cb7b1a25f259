-- read_due: reads and locks the due schedules of claimed flags, oldest first. A separate statement, so that its snapshot is
-- taken after the flags were locked and sees what their last holder committed. Locked, so that no cancel can interfere.
with
due as materialized (
    select oldest.flag_id, oldest.id, oldest.place, oldest.scheduled_at, oldest.created_at
    from pg_catalog.unnest($1::uuid[]) as claimed (flag_id)
    cross join lateral (
        select s.flag_id, s.id, s.ctid as place, s.scheduled_at, coalesce(s.created_at, '-infinity') as created_at
        from feature_flag_schedules s
        where s.flag_id = claimed.flag_id and s.status = 'pending' and s.scheduled_at <= pg_catalog.now()
        order by s.scheduled_at, coalesce(s.created_at, '-infinity'), s.id
        limit $2
    ) oldest
    order by oldest.scheduled_at, oldest.created_at, oldest.id
    limit $3
)
select
    due.flag_id,
    due.id,
    held.place,
    held.id is not null as is_locked_by_us,
    held.apply_by,
    held.updates,
    held.expect,
    due.scheduled_at,
    pg_catalog.now() as database_now
from due
-- Rows locked by another transaction are missing here. JSON as text, truncated: what is valid is short. Each row is where the
-- same snapshot has just seen it, however large the table is.
left join lateral (
    select
        s.id, s.ctid as place, s.apply_by,
        pg_catalog.left(s.updates::text, 4097) as updates, pg_catalog.left(s.expect::text, 4097) as expect
    from feature_flag_schedules s
    where s.ctid = due.place and s.id = due.id and s.status = 'pending'
    for no key update skip locked
) held on true
order by due.scheduled_at, due.created_at, due.id
