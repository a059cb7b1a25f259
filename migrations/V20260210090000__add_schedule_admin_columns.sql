-- Who created and who cancelled. Nullable: rows from before this migration have no answer and go on working.
alter table feature_flag_schedules
    add column if not exists created_by text,
    add column if not exists cancelled_by text,
    add column if not exists cancelled_at timestamptz;
