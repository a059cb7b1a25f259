-- What is due, oldest first, over all flags: the processor's claim. Partial, so that it holds pending rows only and an idle
-- tick costs the same whatever the history. An adopted table may have rows without `created_at`: they come first, and so
-- every row has a place in the order. Replaces feature_flag_schedules_pending_idx, which gave them none; the previous
-- release reads this one, too, and sorts the rows of one `scheduled_at`.
create index if not exists feature_flag_schedules_due_idx
    on feature_flag_schedules (scheduled_at, (coalesce(created_at, '-infinity'::pg_catalog.timestamptz)), id)
    include (flag_id)
    where status operator(pg_catalog.=) 'pending';

drop index if exists feature_flag_schedules_pending_idx;
