-- list_schedules: returns one page of a flag's schedules; one row of nulls for a flag without schedules; no row if there is
-- no such flag. The columns are those of flag_schedule_document, which limits texts and `updates` in the same way; as columns they
-- take a third of the time. There is no final sort, so each row is sent as soon as it is produced.
select
    pg_catalog.left(flag.flag_key::text, 1000) as flag_key,
    pg_catalog.left(flag.environment::text, 1000) as environment,
    page.id,
    page.scheduled_at,
    page.apply_by,
    page.status,
    page.updates,
    page.expect,
    page.reason,
    page.created_at,
    page.created_by,
    page.cancelled_at,
    page.cancelled_by,
    page.cancel_reason,
    page.applied_at,
    page.failed_at,
    page.error_code,
    page.error_message
from feature_flags flag
left join lateral (
    select
        s.id,
        s.scheduled_at,
        s.apply_by,
        pg_catalog.left(s.status, 1000) as status,
        case
            when pg_catalog.octet_length(s.updates::text) <= 4096 then s.updates
            else pg_catalog.to_jsonb(pg_catalog.left(s.updates::text, 1000))
        end as updates,
        case
            when pg_catalog.octet_length(s.expect::text) <= 4096 then s.expect
            else pg_catalog.to_jsonb(pg_catalog.left(s.expect::text, 1000))
        end as expect,
        pg_catalog.left(s.reason, 1000) as reason,
        s.created_at,
        pg_catalog.left(s.created_by, 1000) as created_by,
        s.cancelled_at,
        pg_catalog.left(s.cancelled_by, 1000) as cancelled_by,
        pg_catalog.left(s.cancel_reason, 1000) as cancel_reason,
        s.applied_at,
        s.failed_at,
        pg_catalog.left(s.error_code, 1000) as error_code,
        pg_catalog.left(s.error_message, 1000) as error_message
    from feature_flag_schedules s
    where s.flag_id = flag.id
        -- status:
        and s.status = $3
        -- :status
        -- after:
        and (s.scheduled_at, s.id) > ($4, $5)
        -- :after
    order by s.scheduled_at, s.id
    limit $6
) page on true
where flag.flag_key operator(pg_catalog.=) $1 and flag.environment operator(pg_catalog.=) $2
