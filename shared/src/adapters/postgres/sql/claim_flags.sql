-- claim_flags: locks the flags of the oldest due schedules beyond a position, but for those left alone. One row for each claimed flag, with the
-- position reached; one row without a flag when all of them are locked by others; no row when nothing is due.
with
-- The oldest of what is due, by the database's clock.
due as (
    select flag_id, scheduled_at, created_at, id
    from feature_flag_schedules
    where status = 'pending'
        and scheduled_at <= now()
        and ($1::timestamptz is null or (scheduled_at, created_at, id) > ($1, $2, $3))
        and flag_id <> all ($5::uuid[])
    order by scheduled_at, created_at, id
    limit $4
),
reached as (
    select scheduled_at, created_at, id
    from due
    order by scheduled_at desc, created_at desc, id desc
    limit 1
),
-- Not FOR UPDATE: that would block every create, whose foreign key takes FOR KEY SHARE.
claimed as (
    select f.id, f.enabled, f.rollout_percentage
    from feature_flags f
    where f.id in (select due.flag_id from due)
    for no key update skip locked
)
select
    reached.scheduled_at,
    reached.created_at,
    reached.id,
    (select count(*) from due) as looked_at,
    claimed.id as flag_id,
    claimed.enabled,
    claimed.rollout_percentage
from reached
left join claimed on true
