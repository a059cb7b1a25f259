-- delete_events: deletes delivered events. Rows are addressed by `ctid`, each found by one primary key lookup: a plan that does
-- not depend on the statistics, in which the outbox is usually empty.
delete from audit_outbox
where ctid = any (array(
    select (select o.ctid from audit_outbox o where o.event_id = d.event_id)
    from pg_catalog.unnest($1::uuid[]) as d (event_id)
))
