-- claim_flags: locks the flags of the oldest due schedules after a position, except those to skip. Returns one row for each
-- claimed flag, with the position reached; one row without a flag if others hold all of them; no row if nothing is due.
with
-- The oldest due schedules, by the database's clock. Rows of an adopted table may lack `created_at`: they sort first.
due as (
    select s.flag_id, s.scheduled_at, coalesce(s.created_at, '-infinity') as created_at, s.id
    from feature_flag_schedules s
    where s.status = 'pending'
        and s.scheduled_at <= pg_catalog.now()
        and ($1::timestamptz is null or (s.scheduled_at, coalesce(s.created_at, '-infinity'), s.id) > ($1, $2, $3))
        and s.flag_id <> all ($5::uuid[])
    order by s.scheduled_at, coalesce(s.created_at, '-infinity'), s.id
    limit $4
),
-- Signals to other ticks, for the duration of the transaction, that this one ($7) is working.
working as materialized (
    select pg_catalog.pg_try_advisory_xact_lock_shared($6, $7) as is_told
),
reached as (
    select due.scheduled_at, due.created_at, due.id
    from due
    order by due.scheduled_at desc, due.created_at desc, due.id desc
    limit 1
),
wanted as (
    select distinct due.flag_id
    from due
),
-- Not FOR UPDATE: that would block every create, whose foreign key takes FOR KEY SHARE. NULL reads as the default. One
-- primary key lookup for each flag: a plain join would scan a large table in full for every batch.
claimed as (
    select f.id, f.enabled, f.rollout_percentage
    from wanted
    cross join lateral (
        select f.id, coalesce(f.enabled, false) as enabled, coalesce(f.rollout_percentage, 0) as rollout_percentage
        from feature_flags f
        where f.id = wanted.flag_id
        for no key update skip locked
    ) f
)
select
    reached.scheduled_at,
    reached.created_at,
    reached.id,
    (select pg_catalog.count(*) from due) as schedules_seen,
    (select pg_catalog.count(*) from wanted) as flags_seen,
    claimed.id as flag_id,
    claimed.enabled,
    claimed.rollout_percentage
from reached
cross join working
left join claimed on true
where working.is_told is not null
