-- list_undelivered: returns one page of the events in the outbox, dead ones included, in the order of their ids; of each only
-- which transition it is about.
select o.event_id, o.event_type, o.schedule operator(pg_catalog.->>) 'id' as schedule_id
from audit_outbox o
where o.event_id operator(pg_catalog.>) coalesce($1::pg_catalog.uuid, '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid)
order by o.event_id
limit $2
