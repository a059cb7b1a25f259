-- Audit events not yet known to be delivered: a delivery buffer, not an audit table. A row is written by the statement
-- that makes the change, and deleted once CloudWatch Logs has the event.
create table audit_outbox (
    event_id uuid primary key,
    event_type text not null,
    -- What the service knew: actor, request and, for an applied schedule, the flag before and after.
    context jsonb not null,
    -- The schedule as the statement left it, with its flag's key and environment and the database's times.
    schedule jsonb not null,
    written_at timestamptz not null default clock_timestamp(),
    -- Set when CloudWatch Logs refused the event's own timestamp: from then on it is sent with the time of sending.
    refused_at timestamptz,
    -- Set when the event can never be delivered: the row is kept, with the reason, and stops blocking the others.
    dead_at timestamptz,
    dead_reason text
);

-- The sweep's order, oldest first, and the age of the backlog.
create index audit_outbox_undelivered_idx on audit_outbox (written_at, event_id) where dead_at is null;
create index audit_outbox_dead_idx on audit_outbox (dead_at) where dead_at is not null;
