-- Deletes schedules that ended longer ago than `older_than`, oldest first, with psql as flag_schedules_retention:
--
--     psql "$RETENTION_URL" -v older_than='400 days' -f migrations/operations/delete_ended.sql
--
-- Variables: older_than, an interval of at least 30 days; batch_size, schedules in one transaction (1000, at most 10000);
-- batches, transactions of this run, at most (1000). Prints how many schedules each batch has deleted; nothing is left when
-- the lines are fewer than `batches`. Stop it whenever you like: what is deleted is committed, and the next run goes on.

\set QUIET on
\set ON_ERROR_STOP on
\set AUTOCOMMIT on
\if :{?older_than}
\else
do $$ begin raise exception 'older_than is not set' using hint = 'psql -v older_than=''400 days'''; end $$;
\endif
\if :{?batch_size}
\else
\set batch_size 1000
\endif
\if :{?batches}
\else
\set batches 1000
\endif
\pset format unaligned
\pset tuples_only on

-- One statement for each batch, so that each is a transaction of its own with the role's time limit.
select pg_catalog.format(
    'select deleted from flag_schedules_delete_ended(%L, %L) as deleted where deleted > 0', :'older_than', :'batch_size'
)
from pg_catalog.generate_series(1, :'batches')
\gexec
