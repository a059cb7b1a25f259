-- The transitions of all schedules in the order of time, for comparing them with the audit trail: creations by this service,
-- and ends as the status says. Without these, every verification would read all schedules. Both grow at their right edge
-- only.
create index if not exists feature_flag_schedules_created_idx
    on feature_flag_schedules (created_at, id)
    where created_by is not null;

create index if not exists feature_flag_schedules_ended_idx
    on feature_flag_schedules (
        (case
            when status operator(pg_catalog.=) 'applied' then applied_at
            when status operator(pg_catalog.=) 'failed' then failed_at
            when status operator(pg_catalog.=) 'cancelled' then cancelled_at
        end),
        id
    )
    where status operator(pg_catalog.<>) 'pending';
