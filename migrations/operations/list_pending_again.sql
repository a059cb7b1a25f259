-- After a restore, before ticks start: what they are going to do with schedules that are pending (again). Reads the result of
-- `verify-trail` from the file result.json in the current folder. -v result=… names another file, or several with blanks between
-- them, one for each window. Run with psql as a role that reads flags and schedules, such as flag_schedules_reader:
--
--     psql "$READER_URL" -f migrations/operations/list_pending_again.sql
--
-- next_tick: `applied` or `failed` (its apply_by has passed) by the first tick; `later`, at scheduled_at. trail: how the
-- schedule ended after the point of the restore, as the audit trail has it; empty if it has not ended yet, so this is its turn.

\set QUIET on
\set ON_ERROR_STOP on
\if :{?result}
\else
\set result result.json
\endif
\set results `printf '[0'; for file in :result; do printf ,; cat "$file"; done; printf ']'`

-- A result that does not name every end would list schedules that were cancelled as if they had not ended.
with results as (
    select number, result, (result ->> 'from')::timestamptz as begins, (result ->> 'to')::timestamptz as ends
    from jsonb_array_elements(:'results'::jsonb - 0) with ordinality as r (result, number)
),
checked as (
    select number, case
        when jsonb_typeof(result -> 'different') is distinct from 'array'
            then format('is not a result of verify-trail: %s', left(result::text, 200))
        when result -> 'complete' is distinct from 'true' then 'is not complete; verify shorter windows'
        when result -> 'different_count' is distinct from to_jsonb(jsonb_array_length(result -> 'different'))
            then 'does not list all that is different; verify shorter windows'
        when max(ends) over (order by begins rows between unbounded preceding and 1 preceding) < begins
            then format('begins at %s, after the end of the window before it', result ->> 'from')
    end as wrong
    from results
    union all
    select 1, 'is missing' where not exists (select from results)
)
select format('do $do$ begin raise exception using message = %L; end $do$', format('result %s %s', number, wrong))
from checked
where wrong is not null
\gexec

with ended as (
    select schedule_id, string_agg(concat_ws(' ', substr(event_type, 15), occurred_at), ', ' order by occurred_at) as trail
    from (
        -- Windows may overlap.
        select distinct d.schedule_id, d.event_type, d.occurred_at
        from jsonb_array_elements(:'results'::jsonb - 0) as r (result)
        cross join jsonb_to_recordset(r.result -> 'different')
            as d (schedule_id uuid, event_type text, occurred_at text, row_status text)
        where d.row_status = 'pending' and d.event_type <> 'flag_schedule.created'
    ) ends
    group by schedule_id
)
select
    case when s.scheduled_at > now() then 'later' when s.apply_by < now() then 'failed' else 'applied' end as next_tick,
    e.trail, s.id, f.flag_key, f.environment, s.scheduled_at, s.apply_by, s.updates, s.created_by, s.reason
from feature_flag_schedules s
join feature_flags f on f.id = s.flag_id
left join ended e on e.schedule_id = s.id
where s.status = 'pending' and (s.scheduled_at <= now() or e.schedule_id is not null)
order by s.scheduled_at, s.created_at, s.id;
