-- list_transitions: returns one page of the transitions of all schedules in the order of time. A row claims to have been
-- created if it says by whom, and the end that its status says. The condition on time is implied by the one on the position,
-- and makes the index apply.
with
page as (
    (
        select s.id, 'flag_schedule.created'::pg_catalog.text as event_type, s.created_at as occurred_at
        from feature_flag_schedules s
        where s.created_by is not null
            and s.created_at operator(pg_catalog.>=) $1
            and s.created_at operator(pg_catalog.<) $4
            and (s.created_at, s.id, 'flag_schedule.created'::pg_catalog.text) operator(pg_catalog.>) ($1, $2, $3)
        order by s.created_at, s.id
        limit $5
    )
    union all
    (
        select ended.id, ended.event_type, ended.occurred_at
        from (
            select
                s.id,
                'flag_schedule.' operator(pg_catalog.||) s.status as event_type,
                case
                    when s.status operator(pg_catalog.=) 'applied' then s.applied_at
                    when s.status operator(pg_catalog.=) 'failed' then s.failed_at
                    when s.status operator(pg_catalog.=) 'cancelled' then s.cancelled_at
                end as occurred_at
            from feature_flag_schedules s
            where s.status operator(pg_catalog.<>) 'pending'
        ) ended
        where ended.occurred_at operator(pg_catalog.>=) $1
            and ended.occurred_at operator(pg_catalog.<) $4
            and (ended.occurred_at, ended.id, ended.event_type) operator(pg_catalog.>) ($1, $2, $3)
        order by ended.occurred_at, ended.id
        limit $5
    )
    order by occurred_at, id, event_type
    limit $5
)
-- Rows by primary key.
select page.event_type, page.occurred_at, found.schedule
from page
cross join lateral (
    select flag_schedule_document(s, f.flag_key::text, f.environment::text) as schedule
    from feature_flag_schedules s
    join feature_flags f on f.id operator(pg_catalog.=) s.flag_id
    where s.id operator(pg_catalog.=) page.id
    offset 0
) found
order by page.occurred_at, page.id, page.event_type
