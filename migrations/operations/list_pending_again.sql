-- After a restore, before ticks start: what they are going to do with schedules that are pending (again). Reads the result of
-- `verify-trail` from the file result.json in the current folder; -v result=… names another one. Run with psql as a role that
-- reads flags and schedules, such as flag_schedules_reader:
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
\set findings `cat :'result'`

with ended as (
    select d.schedule_id, string_agg(concat_ws(' ', substr(d.event_type, 15), d.occurred_at), ', ' order by d.occurred_at) as trail
    from jsonb_to_recordset(:'findings'::jsonb -> 'different')
        as d (schedule_id uuid, event_type text, occurred_at text, row_status text)
    where d.row_status = 'pending' and d.event_type <> 'flag_schedule.created'
    group by d.schedule_id
)
select
    case when s.scheduled_at > now() then 'later' when s.apply_by < now() then 'failed' else 'applied' end as next_tick,
    e.trail, s.id, f.flag_key, f.environment, s.scheduled_at, s.apply_by, s.updates, s.created_by, s.reason
from feature_flag_schedules s
join feature_flags f on f.id = s.flag_id
left join ended e on e.schedule_id = s.id
where s.status = 'pending' and (s.scheduled_at <= now() or e.schedule_id is not null)
order by s.scheduled_at, s.created_at, s.id;
