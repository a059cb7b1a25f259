-- read_due: reads and locks what is due of claimed flags, the oldest first. A statement of its own: its snapshot is taken
-- after the flags were locked, so it sees what their last holder left. Locked: a cancel cannot slip in.
with
due as materialized (
    select oldest.flag_id, oldest.id, oldest.scheduled_at, oldest.created_at
    from unnest($1::uuid[]) as claimed (flag_id)
    cross join lateral (
        select s.flag_id, s.id, s.scheduled_at, coalesce(s.created_at, '-infinity') as created_at
        from feature_flag_schedules s
        where s.flag_id = claimed.flag_id and s.status = 'pending' and s.scheduled_at <= now()
        order by s.scheduled_at, coalesce(s.created_at, '-infinity'), s.id
        limit $2
    ) oldest
    order by oldest.scheduled_at, oldest.created_at, oldest.id
    limit $3
)
select
    due.flag_id,
    due.id,
    held.id is not null as is_held,
    held.apply_by,
    held.updates,
    now() as database_now
from due
-- A row that somebody else holds is missing here. `updates` as text, of which a valid one needs little. One probe of the
-- primary key for each schedule, however large the table is.
left join lateral (
    select s.id, s.apply_by, left(s.updates::text, 4097) as updates
    from feature_flag_schedules s
    where s.id = due.id and s.status = 'pending'
    for no key update skip locked
) held on true
order by due.scheduled_at, due.created_at, due.id
