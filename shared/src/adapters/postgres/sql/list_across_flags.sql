-- list_across_flags: returns one page of the schedules with one status of all flags of an environment, in ascending order; the
-- adapter also turns it around. Looks at no more than $8 schedules, whatever their environment, so that a page costs the same
-- where others have many. If the page ends for that reason, the last row has no schedule, and says where the next page starts.
with
page as (
    select near.id, near.scheduled_at, flag.flag_key, flag.environment
    from (
        select s.id, s.scheduled_at, s.flag_id
        from feature_flag_schedules s
        where s.status collate pg_catalog."C" = $2
            and ($3::timestamptz is null or s.scheduled_at >= $3)
            and ($4::timestamptz is null or s.scheduled_at < $4)
            and ($5::timestamptz is null or (s.scheduled_at, s.id) > ($5, $6))
        order by s.scheduled_at asc, s.id asc
        limit $8
    ) near
    -- One primary key lookup for each, only as long as the page is not full.
    cross join lateral (
        select f.flag_key, f.environment
        from feature_flags f
        where f.id = near.flag_id and f.environment operator(pg_catalog.=) $1
        offset 0
    ) flag
    order by near.scheduled_at asc, near.id asc
    limit $7
)
select page.id, page.scheduled_at, found.schedule
from page
cross join lateral (
    select flag_schedule_document(s, page.flag_key::text, page.environment::text) as schedule
    from feature_flag_schedules s
    where s.id = page.id
    offset 0
) found
union all
(
    select s.id, s.scheduled_at, null
    from feature_flag_schedules s
    where (select pg_catalog.count(*) from page) < $7
        and s.status collate pg_catalog."C" = $2
        and ($3::timestamptz is null or s.scheduled_at >= $3)
        and ($4::timestamptz is null or s.scheduled_at < $4)
        and ($5::timestamptz is null or (s.scheduled_at, s.id) > ($5, $6))
    order by s.scheduled_at asc, s.id asc
    offset $8 - 1
    limit 1
)
