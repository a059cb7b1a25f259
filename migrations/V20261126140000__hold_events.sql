-- Locks the oldest undelivered events for delivery, and returns them with the places of their rows, which do not change while they
-- are locked. Events of known types only; written at least `age` ago, or of one of the types in `own_types`; and not in
-- `except_ids`. Events that another process has locked are skipped.
--
-- A function for the sake of its settings: whatever the statistics say, it reads audit_outbox_undelivered_idx in its order and
-- stops when a batch is full. The table is usually empty, and its statistics know nothing of a backlog: a plan made from them reads
-- and sorts all of it for every batch.
create function flag_schedules_hold_events(
    age pg_catalog.interval,
    batch_size pg_catalog.int4,
    known_types pg_catalog.text[],
    own_types pg_catalog.text[],
    except_ids pg_catalog.uuid[]
)
returns table (
    place pg_catalog.tid,
    event_id pg_catalog.uuid,
    event_type pg_catalog.text,
    context pg_catalog.jsonb,
    schedule pg_catalog.jsonb,
    refused_before pg_catalog.bool
)
language plpgsql
as $$
#variable_conflict use_column
begin
    return query
        select o.ctid, o.event_id, o.event_type, o.context, o.schedule, o.refused_at is not null
        from audit_outbox o
        where o.dead_at is null
            and (
                o.written_at operator(pg_catalog.<=) (pg_catalog.now() operator(pg_catalog.-) age)
                or o.event_type operator(pg_catalog.=) any (own_types)
            )
            and o.event_type operator(pg_catalog.=) any (known_types)
            and o.event_id operator(pg_catalog.<>) all (except_ids)
        order by o.written_at, o.event_id
        limit batch_size
        for update skip locked;
end
$$;

-- pg_temp last: a temporary table must not hide the outbox.
do $$
begin
    execute pg_catalog.format('alter function flag_schedules_hold_events set search_path = %I, pg_temp', pg_catalog.current_schema());
end
$$;
alter function flag_schedules_hold_events set enable_seqscan = off;
alter function flag_schedules_hold_events set enable_bitmapscan = off;
alter function flag_schedules_hold_events set enable_sort = off;
