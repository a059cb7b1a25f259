-- settle_events: records the delivery results of locked events. Rows are addressed by `ctid`, each found by one primary key
-- lookup: a plan that does not depend on the statistics. The rows are locked, so no `ctid` changes in the meantime.
with
delivered as (
    delete from audit_outbox
    where ctid = any (array(
        select (select o.ctid from audit_outbox o where o.event_id = d.event_id)
        from pg_catalog.unnest($1::uuid[]) as d (event_id)
    ))
),
-- From now on these are sent with the time of sending as their timestamp.
refused as (
    update audit_outbox set refused_at = pg_catalog.now()
    where ctid = any (array(
        select (select o.ctid from audit_outbox o where o.event_id = d.event_id)
        from pg_catalog.unnest($2::uuid[]) as d (event_id)
    ))
),
-- These can never be delivered: kept with the reason, and excluded from delivery.
dead as (
    update audit_outbox o
    set dead_at = pg_catalog.now(),
        dead_reason = (
            select d.reason from unnest($3::uuid[], $4::text[]) as d (event_id, reason) where d.event_id = o.event_id
        )
    where o.ctid = any (array(
        select (select p.ctid from audit_outbox p where p.event_id = d.event_id)
        from pg_catalog.unnest($3::uuid[]) as d (event_id)
    ))
)
select
