-- Makes a retry of a create safe: the same key from the same admin for the same flag means the same schedule.
alter table feature_flag_schedules
    add column if not exists idempotency_key text;

create unique index if not exists feature_flag_schedules_idempotency_idx
    on feature_flag_schedules (flag_id, created_by, idempotency_key)
    where idempotency_key is not null;
