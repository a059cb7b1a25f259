-- find_other_ticks: whether a tick other than this one ($2) is in the middle of a batch. Ignores ticks whose client has been
-- silent for a while: it may be gone, with its locks still held.
select exists (
    select from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory'
        and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        and l.classid = $1::bigint::oid
        and l.objsubid = 2
        and l.objid <> $2::bigint::oid
        and l.granted
        and (a.state = 'active' or a.state_change > pg_catalog.clock_timestamp() - interval '1 second')
) as found
