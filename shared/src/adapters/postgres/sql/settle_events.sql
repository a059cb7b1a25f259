-- settle_events: stores the fate of held events.
with
delivered as (
    delete from audit_outbox where event_id = any ($1)
),
-- From now on these are sent with the time of sending.
refused as (
    update audit_outbox set refused_at = now() where event_id = any ($2)
),
-- These can never be delivered: kept with the reason, out of the others' way.
dead as (
    update audit_outbox o
    set dead_at = now(), dead_reason = d.reason
    from unnest($3::uuid[], $4::text[]) as d (event_id, reason)
    where o.event_id = d.event_id
)
select
