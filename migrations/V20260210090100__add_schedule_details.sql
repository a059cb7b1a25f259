-- Until when a change may still be applied, why it was scheduled or cancelled, and how it failed. All nullable.
alter table feature_flag_schedules
    add column if not exists apply_by timestamptz,
    add column if not exists reason text,
    add column if not exists cancel_reason text,
    add column if not exists failed_at timestamptz,
    add column if not exists error_code text;
