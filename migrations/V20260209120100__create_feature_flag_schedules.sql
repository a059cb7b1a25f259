-- The scheduled changes. The table may be there already, made by another tool, with rows and further columns.
-- `updates` has no check: what a row asks for is judged by the processor, which fails a bad one with a reason.
create table if not exists feature_flag_schedules (
    id uuid primary key default gen_random_uuid(),
    flag_id uuid not null references feature_flags (id) on delete cascade,
    scheduled_at timestamptz not null,
    status text not null default 'pending'
        constraint feature_flag_schedules_status_check
        check (status in ('pending', 'applied', 'failed', 'cancelled')),
    updates jsonb not null,
    applied_at timestamptz,
    error_message text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

alter table feature_flag_schedules
    add column if not exists applied_at timestamptz,
    add column if not exists error_message text,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();
