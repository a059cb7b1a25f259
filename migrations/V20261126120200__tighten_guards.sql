-- What the guards let through: an event of an earlier transaction, whose row another update had given a new `xmin`; a schedule
-- without a creator, which no event is expected for; and events of any size.

-- Created by somebody, for a time that the API accepts; to the second, as a column may have less precision.
create or replace trigger flag_schedules_guard_insert
    after insert on feature_flag_schedules
    for each row
    when ((
        new.status operator(pg_catalog.=) 'pending'
        and new.created_by operator(pg_catalog.<>) ''
        and new.scheduled_at operator(pg_catalog.>) (pg_catalog.now() operator(pg_catalog.-) '1 second'::pg_catalog.interval)
        and new.scheduled_at operator(pg_catalog.<=) (pg_catalog.now() operator(pg_catalog.+) '8784 hours 1 second'::pg_catalog.interval)
        and (pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.now()) operator(pg_catalog.<=) '1 minute'::pg_catalog.interval
    ) is not true)
    execute function flag_schedules_refuse();

-- A transition belongs to the transaction that began at the moment which it is dated. Only if a column has less precision or
-- another default, or another tool's trigger may write it, the row must have been written last by this transaction, and be about
-- as old. Nothing else is new, but for the size of an event: the service's own are smaller.
create or replace function flag_schedules_check_events() returns trigger
language plpgsql
as $$
declare
    wrong record;
    is_exact pg_catalog.bool;
begin
    if not flag_schedules_is_guarded(tg_relid) then
        return null;
    end if;
    if (pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.now()) operator(pg_catalog.>) '1 minute'::pg_catalog.interval then
        raise exception 'the role % may not write events in a transaction that is older than a minute', current_user
            using errcode = 'insufficient_privilege', table = tg_table_name, schema = tg_table_schema,
                hint = 'an event is written by the transaction that writes its schedule';
    end if;
    select pg_catalog.bool_and(
        a.atttypmod operator(pg_catalog.=) -1
        and (
            a.attname operator(pg_catalog.<>) 'created_at'
            or pg_catalog.pg_get_expr(d.adbin, d.adrelid) operator(pg_catalog.=) any ('{now(),CURRENT_TIMESTAMP,transaction_timestamp()}'::pg_catalog.text[])
        )
    ) and not exists (
        -- 2 is BEFORE, 1 is FOR EACH ROW.
        select from pg_catalog.pg_trigger t
        where t.tgrelid operator(pg_catalog.=) 'feature_flag_schedules'::pg_catalog.regclass::pg_catalog.oid
            and (t.tgtype operator(pg_catalog.&) 3::pg_catalog.int2) operator(pg_catalog.=) 3
    ) into is_exact
    from pg_catalog.pg_attribute a
    left join pg_catalog.pg_attrdef d on d.adrelid operator(pg_catalog.=) a.attrelid and d.adnum operator(pg_catalog.=) a.attnum
    where a.attrelid operator(pg_catalog.=) 'feature_flag_schedules'::pg_catalog.regclass::pg_catalog.oid
        and a.attname operator(pg_catalog.=) any ('{created_at,cancelled_at,applied_at,failed_at}'::pg_catalog.name[]);
    select e.event_id, e.event_type, e.schedule operator(pg_catalog.->>) 'id' as schedule_id into wrong
    from written e
    left join lateral (
        select (e.schedule operator(pg_catalog.->>) 'id') operator(pg_catalog.=) s.id::pg_catalog.text
            and (e.schedule operator(pg_catalog.->>) 'status') operator(pg_catalog.=) s.status
            and e.schedule operator(pg_catalog.->>) 'created_by' is not distinct from pg_catalog.left(s.created_by, 1000)
            and (
                written_in.at operator(pg_catalog.=) pg_catalog.now()
                or not is_exact
                    and s.xmin operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid
                    and written_in.at operator(pg_catalog.<@) pg_catalog.tstzrange(
                        pg_catalog.now() operator(pg_catalog.-) '1 second'::pg_catalog.interval,
                        pg_catalog.now() operator(pg_catalog.+) '1 second'::pg_catalog.interval,
                        '[]'
                    )
            )
            and pg_catalog.pg_column_size(e.context) operator(pg_catalog.<=) 32768
            and pg_catalog.pg_column_size(e.schedule) operator(pg_catalog.<=) 65536
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
        cross join lateral (
            select case e.event_type
                when 'flag_schedule.created' then s.created_at
                when 'flag_schedule.cancelled' then s.cancelled_at
                when 'flag_schedule.applied' then s.applied_at
                when 'flag_schedule.failed' then s.failed_at
            end as at
        ) written_in
        where s.id operator(pg_catalog.=) (e.schedule operator(pg_catalog.->>) 'id')::pg_catalog.uuid
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

-- `create or replace` has reset them.
do $$
begin
    execute pg_catalog.format(
        'alter function flag_schedules_check_events set search_path = %I, pg_temp', pg_catalog.current_schema()
    );
end
$$;
alter function flag_schedules_check_events set enable_seqscan = off;
