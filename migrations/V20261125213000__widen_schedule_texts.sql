-- What an adopted table has as `character varying` becomes `text`: messages, user ids and reasons are longer than another
-- tool thought. No row is rewritten; indexes and checks on the column are made anew. A table that is this service's own has
-- nothing to widen.
do $$
declare
    narrow record;
begin
    for narrow in
        select a.attname as name
        from pg_catalog.pg_attribute a
        where a.attrelid operator(pg_catalog.=) 'feature_flag_schedules'::pg_catalog.regclass::pg_catalog.oid
            and a.attnum operator(pg_catalog.>) 0
            and not a.attisdropped
            and a.atttypid operator(pg_catalog.=) 'pg_catalog.varchar'::pg_catalog.regtype::pg_catalog.oid
            and a.attname operator(pg_catalog.=) any (
                '{status,error_message,created_by,cancelled_by,reason,cancel_reason,error_code,idempotency_key}'::pg_catalog.name[]
            )
        order by a.attnum
    loop
        begin
            execute pg_catalog.format(
                'alter table feature_flag_schedules alter column %I type pg_catalog.text', narrow.name
            );
        exception when others then
            raise exception 'feature_flag_schedules.% cannot be widened to text: %', narrow.name, sqlerrm
                using errcode = sqlstate;
        end;
    end loop;
end
$$;
