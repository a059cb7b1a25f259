-- transaction_status: whether a transaction whose response was lost has been committed.
select pg_catalog.pg_xact_status($1::text::xid8) as status
