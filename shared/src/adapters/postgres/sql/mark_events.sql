-- mark_events: marks events that were not delivered. Rows are addressed as in delete_events.
with
-- From now on these are sent with the time of sending as their timestamp.
refused as (
    update audit_outbox set refused_at = pg_catalog.now()
    where ctid = any (array(
        select (select o.ctid from audit_outbox o where o.event_id = d.event_id)
        from pg_catalog.unnest($1::uuid[]) as d (event_id)
    ))
)
-- These can never be delivered: kept with the reason, and excluded from delivery.
update audit_outbox o
set dead_at = pg_catalog.now(),
    dead_reason = (
        select d.reason from unnest($2::uuid[], $3::text[]) as d (event_id, reason) where d.event_id = o.event_id
    )
where o.ctid = any (array(
    select (select p.ctid from audit_outbox p where p.event_id = d.event_id)
    from pg_catalog.unnest($2::uuid[]) as d (event_id)
))
