-- The service inserts schedules without these columns. An adopted table may have them without a default; its rows stay as
-- they are.
do $$
declare
    bare record;
begin
    for bare in
        select a.attname as name, d.expression
        from (values
            ('status'::pg_catalog.name, '''pending'''),
            ('created_at', 'pg_catalog.now()'),
            ('updated_at', 'pg_catalog.now()')
        ) as d (name, expression)
        join pg_catalog.pg_attribute a
            on a.attrelid operator(pg_catalog.=) 'feature_flag_schedules'::pg_catalog.regclass::pg_catalog.oid
            and a.attname operator(pg_catalog.=) d.name
        where not a.atthasdef
    loop
        execute pg_catalog.format(
            'alter table feature_flag_schedules alter column %I set default %s', bare.name, bare.expression
        );
    end loop;
end
$$;
