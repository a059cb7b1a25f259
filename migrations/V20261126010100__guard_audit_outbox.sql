-- Nobody can forge an event: its type and actor must fit the role that writes it, and its facts the schedule that the same
-- transaction has written. Only the processor, which delivers, or the writer may remove an event or mark it dead. This binds
-- the service's roles only; the owner of the table is not subject to row-level security.

-- Who wrote the event, by the database's account: no role may insert this column. Null in rows from before it, and in no
-- other. The default is set on its own, or it would fill those, too.
alter table audit_outbox add column written_by pg_catalog.text;
alter table audit_outbox alter column written_by set default current_user;

alter table audit_outbox enable row level security;

-- The conditions on roles are subqueries, so that each is evaluated once for a statement.
create policy everyone_reads on audit_outbox for select using (true);

create policy api_writes on audit_outbox for insert with check (
    (select flag_schedules_acts_as('{flag_schedules_api}'))
    and written_by operator(pg_catalog.=) current_user::pg_catalog.text
    and event_type operator(pg_catalog.=) any ('{flag_schedule.created,flag_schedule.cancelled}'::pg_catalog.text[])
    and (context operator(pg_catalog.#>>) '{actor,type}') operator(pg_catalog.=) 'admin'
);

create policy processor_writes on audit_outbox for insert with check (
    (select flag_schedules_acts_as('{flag_schedules_processor}'))
    and written_by operator(pg_catalog.=) current_user::pg_catalog.text
    and event_type operator(pg_catalog.=) any ('{flag_schedule.applied,flag_schedule.failed}'::pg_catalog.text[])
    and (context operator(pg_catalog.->) 'actor') operator(pg_catalog.=) '{"type": "system", "name": "schedule-processor"}'
);

create policy writer_and_processor_settle on audit_outbox for update using (
    written_by operator(pg_catalog.=) current_user::pg_catalog.text
    or (select flag_schedules_acts_as('{flag_schedules_processor}'))
);

create policy writer_and_processor_delete on audit_outbox for delete using (
    written_by operator(pg_catalog.=) current_user::pg_catalog.text
    or (select flag_schedules_acts_as('{flag_schedules_processor}'))
);

-- Users that are none of the service's roles may do what they were granted, as before.
create policy others_as_granted on audit_outbox using (
    (select not flag_schedules_acts_as('{flag_schedules_api,flag_schedules_processor,flag_schedules_reader}'))
);

-- Row-level security does not see what the rest of the statement has written; a trigger after the statement does. An event
-- needs a schedule whose newest version this transaction has written, and whose transition is as old as the transaction, to
-- the second. An event of the API must be the whole row; the processor's events, a thousand at a time, are spared rendering
-- each row once more: `verify-trail` compares those with the rows. The rows are looked up one by one, by primary key, because
-- a session keeps the first plan, made for however many there were then.
create function flag_schedules_check_events() returns trigger
language plpgsql
as $$
declare
    wrong record;
begin
    if not flag_schedules_is_guarded(tg_relid) then
        return null;
    end if;
    select e.event_id, e.event_type, e.schedule operator(pg_catalog.->>) 'id' as schedule_id into wrong
    from written e
    left join lateral (
        select (e.schedule operator(pg_catalog.->>) 'id') operator(pg_catalog.=) s.id::pg_catalog.text
            and (e.schedule operator(pg_catalog.->>) 'status') operator(pg_catalog.=) s.status
            and e.schedule operator(pg_catalog.->>) 'created_by' is not distinct from pg_catalog.left(s.created_by, 1000)
            and case e.event_type
                when 'flag_schedule.created' then s.created_at
                when 'flag_schedule.cancelled' then s.cancelled_at
                when 'flag_schedule.applied' then s.applied_at
                when 'flag_schedule.failed' then s.failed_at
            end operator(pg_catalog.<@) pg_catalog.tstzrange(
                pg_catalog.now() operator(pg_catalog.-) '1 second'::pg_catalog.interval,
                pg_catalog.now() operator(pg_catalog.+) '1 second'::pg_catalog.interval,
                '[]'
            )
            and case
                when e.event_type operator(pg_catalog.=) any ('{flag_schedule.created,flag_schedule.cancelled}'::pg_catalog.text[]) then
                    s.status operator(pg_catalog.=) case e.event_type when 'flag_schedule.created' then 'pending' else 'cancelled' end
                    and (e.context operator(pg_catalog.#>>) '{actor,user_id}') operator(pg_catalog.=)
                        case e.event_type when 'flag_schedule.created' then s.created_by else s.cancelled_by end
                    and e.schedule operator(pg_catalog.=) (
                        select flag_schedule_document(s, f.flag_key::pg_catalog.text, f.environment::pg_catalog.text)
                        from feature_flags f
                        where f.id operator(pg_catalog.=) s.flag_id
                    )
                when e.event_type operator(pg_catalog.=) 'flag_schedule.applied' then
                    s.status operator(pg_catalog.=) 'applied'
                    and (e.schedule operator(pg_catalog.->) 'applied_at') operator(pg_catalog.=) pg_catalog.to_jsonb(s.applied_at)
                when e.event_type operator(pg_catalog.=) 'flag_schedule.failed' then
                    s.status operator(pg_catalog.=) 'failed'
                    and (e.schedule operator(pg_catalog.->) 'failed_at') operator(pg_catalog.=) pg_catalog.to_jsonb(s.failed_at)
                    and (e.schedule operator(pg_catalog.->>) 'error_code') operator(pg_catalog.=) s.error_code
            end as fits
        from feature_flag_schedules s
        where s.id operator(pg_catalog.=) (e.schedule operator(pg_catalog.->>) 'id')::pg_catalog.uuid
            and s.xmin operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid
        offset 0
    ) stored on true
    where stored.fits is not true
    limit 1;
    if found then
        raise exception 'the event % (%) does not fit what was done to schedule %', wrong.event_id, wrong.event_type, wrong.schedule_id
            using errcode = 'insufficient_privilege',
                table = tg_table_name, schema = tg_table_schema,
                hint = 'an event is written by the transaction that writes its schedule, and says what that did';
    end if;
    return null;
end
$$;

-- As in the migration before: pg_temp last.
do $$
begin
    execute pg_catalog.format(
        'alter function flag_schedules_check_events set search_path = %I, pg_temp', pg_catalog.current_schema()
    );
end
$$;
alter function flag_schedules_check_events set enable_seqscan = off;

create trigger flag_schedules_check_events
    after insert on audit_outbox
    referencing new table as written
    for each statement
    execute function flag_schedules_check_events();
