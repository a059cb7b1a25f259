-- One page of the schedules of one status over all flags, in both directions. With the flag, whose environment is looked up. The
-- collation keeps this index from what compares the status without one: the processor's claim has an index in its own order.
create index if not exists feature_flag_schedules_status_idx
    on feature_flag_schedules (status collate pg_catalog."C", scheduled_at, id) include (flag_id);
