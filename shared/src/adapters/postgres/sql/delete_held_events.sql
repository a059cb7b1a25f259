-- delete_held_events: deletes delivered events that this transaction has locked, by the places of their rows.
delete from audit_outbox
where ctid = any ($1::tid[])
