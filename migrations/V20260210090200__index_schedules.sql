-- What is due, oldest first, over all flags: the processor's claim. Partial, so that it holds pending rows only and an
-- idle tick costs the same whatever the history.
create index if not exists feature_flag_schedules_pending_idx
    on feature_flag_schedules (scheduled_at, created_at, id) include (flag_id)
    where status = 'pending';

-- One page of a flag's schedules, of any status.
create index if not exists feature_flag_schedules_flag_idx
    on feature_flag_schedules (flag_id, scheduled_at, id);

-- One page of a flag's schedules of one status, and what is due of one flag.
create index if not exists feature_flag_schedules_flag_status_idx
    on feature_flag_schedules (flag_id, status, scheduled_at, id);
