-- Retention: deletes a batch of schedules that ended before `older_than`, and nothing else. Nobody but the tables' owner can
-- delete a schedule (guard_schedules), so it runs as its own owner, who is the tables' owner or a member of that role. Whoever
-- may execute it needs no privilege on the tables: roles/grants.sql allows one role to, if there is that role, and nobody else.
--
-- At least 30 days: CloudWatch Logs accepts events that are up to 14 days old, so an event that somebody forges cannot be hidden
-- among those whose schedules were deleted.
--
-- Rows are found by feature_flag_schedules_ended_idx, oldest end first, and locked ones are skipped. A row without the time of
-- its end, which another tool wrote, is kept.
create function flag_schedules_delete_ended(older_than pg_catalog.interval, batch_size pg_catalog.int4)
returns pg_catalog.int4
language plpgsql security definer
as $$
#variable_conflict use_variable
declare
    ended_before pg_catalog.timestamptz := pg_catalog.now() operator(pg_catalog.-) older_than;
    deleted pg_catalog.int4;
begin
    if (
        ended_before operator(pg_catalog.<=) (pg_catalog.now() operator(pg_catalog.-) '30 days'::pg_catalog.interval)
    ) is not true then
        raise exception 'schedules are kept for at least 30 days after their end'
            using errcode = 'invalid_parameter_value', hint = 'pass an interval of 30 days or more';
    end if;
    if (batch_size operator(pg_catalog.>=) 1 and batch_size operator(pg_catalog.<=) 10000) is not true then
        raise exception 'a batch has 1 to 10000 schedules' using errcode = 'invalid_parameter_value';
    end if;

    -- Not before its events are delivered. An event is written in the transaction that ends its schedule, which takes less than
    -- a day.
    ended_before := least(ended_before, (
        select e.written_at operator(pg_catalog.-) '1 day'::pg_catalog.interval
        from audit_outbox e
        where e.dead_at is null
        order by e.written_at, e.event_id
        limit 1
    ));

    delete from feature_flag_schedules s
    where s.id operator(pg_catalog.=) any (array(
        select e.id
        from feature_flag_schedules e
        where e.status operator(pg_catalog.<>) 'pending'
            and e.status operator(pg_catalog.=) any ('{applied,failed,cancelled}'::pg_catalog.text[])
            and (case
                when e.status operator(pg_catalog.=) 'applied' then e.applied_at
                when e.status operator(pg_catalog.=) 'failed' then e.failed_at
                when e.status operator(pg_catalog.=) 'cancelled' then e.cancelled_at
            end) operator(pg_catalog.<) ended_before
        order by (case
            when e.status operator(pg_catalog.=) 'applied' then e.applied_at
            when e.status operator(pg_catalog.=) 'failed' then e.failed_at
            when e.status operator(pg_catalog.=) 'cancelled' then e.cancelled_at
        end), e.id
        limit batch_size
        for update skip locked
    ));
    get diagnostics deleted = row_count;

    -- In the server's log, whatever the client is sent.
    if deleted operator(pg_catalog.>) 0 then
        raise log '% deleted % schedules that ended before %', session_user, deleted, ended_before;
    end if;
    return deleted;
end
$$;

-- Whatever the caller's settings are: only the service's tables, and the same days in every time zone. Whatever the statistics
-- say: by the index in its order, from which a batch reads its own rows only. Any other plan would read all that ended before.
do $$
begin
    execute pg_catalog.format(
        'alter function flag_schedules_delete_ended set search_path = %I, pg_temp', pg_catalog.current_schema()
    );
end
$$;
alter function flag_schedules_delete_ended set timezone = 'UTC';
alter function flag_schedules_delete_ended set enable_seqscan = off;
alter function flag_schedules_delete_ended set enable_bitmapscan = off;
alter function flag_schedules_delete_ended set enable_sort = off;

revoke execute on function flag_schedules_delete_ended(pg_catalog.interval, pg_catalog.int4) from public;
