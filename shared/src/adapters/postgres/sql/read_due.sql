-- read_due: reads and locks what is due of claimed flags, the oldest of each first. A statement of its own: its snapshot
-- is taken after the flags were locked, so it sees what their last holder left. Locked: a cancel cannot slip in.
select
    s.flag_id,
    s.id,
    s.apply_by,
    s.updates,
    now() as database_now
from unnest($1::uuid[]) as claimed (flag_id)
cross join lateral (
    select due.flag_id, due.id, due.apply_by, due.updates, due.scheduled_at, due.created_at
    from feature_flag_schedules due
    where due.flag_id = claimed.flag_id and due.status = 'pending' and due.scheduled_at <= now()
    order by due.scheduled_at, due.created_at, due.id
    limit $2
    for no key update
) s
order by s.scheduled_at, s.created_at, s.id
