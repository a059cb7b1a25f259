-- find_other_ticks: whether another tick than this one ($2) is in the middle of a batch.
select exists (
    select from pg_locks l
    where l.locktype = 'advisory'
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.classid = $1::bigint::oid
        and l.objsubid = 2
        and l.objid <> $2::bigint::oid
        and l.granted
) as found
