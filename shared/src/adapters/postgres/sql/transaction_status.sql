-- transaction_status: whether a transaction whose answer was lost has been committed.
select pg_xact_status($1::text::xid8) as status
