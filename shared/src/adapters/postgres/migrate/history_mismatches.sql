-- history_mismatches: checks the migration history ($2 in the schema $1) before it is read and written. At least one row if it
-- exists. A table owned by another role could run that role's functions with our privileges, through a trigger or a rule.
select
    pg_catalog.format('%I.%I', n.nspname, c.relname) as history,
    wrong.said
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join lateral (
    select pg_catalog.format('%s is %s, but must be an ordinary table that `migrate` has made', c.relname, k.kind) as said
    from (
        select 'not a table' as kind where c.relkind <> 'r'
        union all
        select pg_catalog.format('owned by %I, a role that %I does not belong to,', pg_catalog.pg_get_userbyid(c.relowner), current_user)
        where not pg_catalog.pg_has_role(c.relowner, 'usage')
        union all
        select pg_catalog.format('a table with the trigger %I', t.tgname)
        from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal
        union all
        select pg_catalog.format('a table with the rule %I', r.rulename)
        from pg_catalog.pg_rewrite r where r.ev_class = c.oid and c.relkind = 'r'
        union all
        select 'a table with row-level security' where c.relrowsecurity
        union all
        select pg_catalog.format('a table with the check %I', k.conname)
        from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'c'
        union all
        select pg_catalog.format('a table with a default for %I', a.attname)
        from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and a.atthasdef
    ) k
) wrong on true
where n.nspname = $1 and c.relname = $2;
