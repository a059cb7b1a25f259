-- delete_held_events: deletes events that this transaction has locked, by the places of their rows; committed once they are delivered.
delete from audit_outbox
where ctid = any ($1::tid[])
