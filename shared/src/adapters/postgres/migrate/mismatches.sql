-- mismatches: lists what makes this database and the tables in the schema $1 unusable, one sentence per row. Before the
-- migrations ($2) what they create, add or widen may be missing; $3 says whether the outbox was created by a migration. A row
-- with `proof` counts only if that query returns a text, which replaces {}. Run with only pg_catalog in the search path.
with
-- Column, allowed types, their wording in messages, whether it must or must not be `not null`, whether a migration adds it
-- if it is missing, and whether rows are inserted without it.
required (relation, name, types, words, nulls, added, omitted) as (values
    ('feature_flags', 'id', '{uuid}'::regtype[], 'uuid', 'never', false, false),
    ('feature_flags', 'flag_key', '{text,varchar}', 'text or character varying', 'never', false, false),
    ('feature_flags', 'environment', '{text,varchar}', 'text or character varying', 'never', true, false),
    ('feature_flags', 'enabled', '{bool}', 'boolean', 'any', true, false),
    ('feature_flags', 'rollout_percentage', '{int4}', 'integer', 'any', true, false),
    ('feature_flags', 'updated_at', '{timestamptz,timestamp}', 'timestamp with or without time zone', 'any', true, false),
    ('feature_flag_schedules', 'id', '{uuid}', 'uuid', 'never', false, false),
    ('feature_flag_schedules', 'flag_id', '{uuid}', 'uuid', 'never', false, false),
    ('feature_flag_schedules', 'scheduled_at', '{timestamptz}', 'timestamp with time zone', 'never', false, false),
    ('feature_flag_schedules', 'status', '{text}', 'text', 'any', false, true),
    ('feature_flag_schedules', 'updates', '{jsonb}', 'jsonb', 'any', false, false),
    ('feature_flag_schedules', 'applied_at', '{timestamptz}', 'timestamp with time zone', 'allowed', true, false),
    ('feature_flag_schedules', 'error_message', '{text}', 'text', 'allowed', true, false),
    ('feature_flag_schedules', 'created_at', '{timestamptz}', 'timestamp with time zone', 'any', true, true),
    ('feature_flag_schedules', 'updated_at', '{timestamptz}', 'timestamp with time zone', 'any', true, true),
    ('feature_flag_schedules', 'created_by', '{text}', 'text', 'any', true, false),
    ('feature_flag_schedules', 'cancelled_by', '{text}', 'text', 'allowed', true, false),
    ('feature_flag_schedules', 'cancelled_at', '{timestamptz}', 'timestamp with time zone', 'allowed', true, false),
    ('feature_flag_schedules', 'apply_by', '{timestamptz}', 'timestamp with time zone', 'allowed', true, false),
    ('feature_flag_schedules', 'expect', '{jsonb}', 'jsonb', 'allowed', true, false),
    ('feature_flag_schedules', 'reason', '{text}', 'text', 'allowed', true, false),
    ('feature_flag_schedules', 'cancel_reason', '{text}', 'text', 'allowed', true, false),
    ('feature_flag_schedules', 'failed_at', '{timestamptz}', 'timestamp with time zone', 'allowed', true, false),
    ('feature_flag_schedules', 'error_code', '{text}', 'text', 'allowed', true, false),
    ('feature_flag_schedules', 'idempotency_key', '{text}', 'text', 'allowed', true, false),
    ('audit_outbox', 'event_id', '{uuid}', 'uuid', 'never', false, false),
    ('audit_outbox', 'event_type', '{text}', 'text', 'never', false, false),
    ('audit_outbox', 'context', '{jsonb}', 'jsonb', 'never', false, false),
    ('audit_outbox', 'schedule', '{jsonb}', 'jsonb', 'never', false, false),
    ('audit_outbox', 'written_at', '{timestamptz}', 'timestamp with time zone', 'never', false, true),
    ('audit_outbox', 'refused_at', '{timestamptz}', 'timestamp with time zone', 'allowed', false, false),
    ('audit_outbox', 'dead_at', '{timestamptz}', 'timestamp with time zone', 'allowed', false, false),
    ('audit_outbox', 'dead_reason', '{text}', 'text', 'allowed', false, false),
    ('audit_outbox', 'written_by', '{text}', 'text', 'allowed', true, true)
),
relation as (
    select
        r.place, r.name, c.oid,
        case
            when c.oid is null then 'missing'
            when c.relkind = 'v' then 'a view'
            when c.relkind = 'm' then 'a materialized view'
            when c.relkind = 'p' then 'a partitioned table'
            when c.relkind = 'f' then 'a foreign table'
            when c.relkind <> 'r' then format('a relation of kind "%s"', c.relkind)
            when c.relpersistence = 'u' then 'an unlogged table, which a crash empties'
            when r.name = 'audit_outbox' and not $3::boolean then 'not ours (relation "audit_outbox" already exists)'
            when exists (select from pg_rewrite w where w.ev_class = c.oid)
                then 'a table with rules, which do not allow RETURNING'
            else 'usable'
        end as state
    from (values (1, 'feature_flags'), (2, 'feature_flag_schedules'), (3, 'audit_outbox')) as r (place, name)
    left join pg_namespace n on n.nspname = $1::text
    left join pg_class c on c.relnamespace = n.oid and c.relname = r.name
),
actual as (
    select
        relation.place, relation.name as relation, relation.oid, a.attname as name, a.attnum, a.atttypid,
        a.attnotnull or t.typnotnull as not_null,
        a.atthasdef or a.attidentity <> '' or t.typdefault is not null as filled,
        a.attgenerated <> '' or a.attidentity = 'a' as generated,
        concat(
            case t.typtype when 'e' then 'the enum ' when 'd' then 'the domain ' end,
            format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then ' not null' end,
            case when a.attgenerated <> '' then ' generated always as (...)' when a.attidentity = 'a' then ' generated always as identity' end
        ) as words
    from relation
    join pg_attribute a on a.attrelid = relation.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    where relation.state = 'usable'
),
-- Required columns, joined with the actual ones.
judged as (
    select
        relation.place, r.relation, r.name, r.types, r.words as required, r.nulls, r.added, r.omitted,
        relation.oid, a.attnum, a.words, a.not_null, a.filled, a.generated,
        a.atttypid = any (r.types::oid[]) as type_fits,
        -- A migration widens the text columns of the schedules.
        r.relation = 'feature_flag_schedules' and r.types = '{text}' and a.atttypid = 'varchar'::regtype as widened
    from required r
    join relation on relation.name = r.relation and relation.state = 'usable'
    left join actual a on a.relation = r.relation and a.name = r.name
),
-- Required unique indexes, in any column order; the condition as PostgreSQL prints it. A migration creates each index,
-- unless its name is taken.
uniqueness (relation, columns, condition, words) as (values
    ('feature_flags', '{environment,flag_key}'::text[], null, '(flag_key, environment)'),
    ('feature_flag_schedules', '{created_by,flag_id,idempotency_key}', '(idempotency_key IS NOT NULL)',
        '(flag_id, created_by, idempotency_key) where idempotency_key is not null')
),
-- The triggers of the migrations that guard these tables.
guards (relation, name) as (values
    ('feature_flag_schedules', 'flag_schedules_guard_insert'),
    ('feature_flag_schedules', 'flag_schedules_guard_update'),
    ('feature_flag_schedules', 'flag_schedules_guard_delete'),
    ('audit_outbox', 'flag_schedules_check_events')
),
mismatch (place, name, attnum, said, proof) as (
    select 0, '', 0, format('the database''s encoding is %s, but must be UTF8', pg_encoding_to_char(d.encoding)), null
    from pg_database d
    where d.datname = current_database() and pg_encoding_to_char(d.encoding) <> 'UTF8'

    union all
    select place, name, 0, format('%s is %s, but must be %s', name, state,
        case
            when name = 'audit_outbox' and state <> 'missing' then 'made by the migration create_audit_outbox: rename it'
            else 'an ordinary table'
        end), null
    from relation
    where state <> 'usable' and not (state = 'missing' and $2::boolean)

    union all
    select place, relation, coalesce(attnum, 0), format('%s.%s is %s, but must be %s%s', relation, name,
        coalesce(words, 'missing'), required,
        case
            when nulls = 'never' then ' not null'
            when nulls = 'allowed' and not_null then ' that may be null'
            when generated then ' that can be written'
        end), null
    from judged
    where case
        when attnum is null then not (added and $2::boolean)
        else not (type_fits or (widened and $2::boolean))
            or (nulls = 'never' and not not_null) or (nulls = 'allowed' and not_null) or generated
    end

    -- PostgreSQL does not alter a column that these use.
    union all
    select j.place, j.relation, j.attnum, format('%s.%s is %s, but must be text, and cannot be widened: %s uses it',
        j.relation, j.name, j.words, pg_describe_object(d.classid, d.objid, d.objsubid)), null
    from judged j
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = j.oid and d.refobjsubid = j.attnum
    left join pg_attrdef own on d.classid = 'pg_attrdef'::regclass and own.oid = d.objid and own.adnum = j.attnum
    where j.widened and $2::boolean and own.oid is null
        and d.classid = any ('{pg_rewrite,pg_trigger,pg_policy,pg_proc,pg_publication_rel,pg_attrdef}'::regclass[]::oid[])

    -- Rows are inserted without these.
    union all
    select place, relation, attnum, format('%s.%s has no default, but must have one', relation, name), null
    from judged
    where omitted and not filled and not $2::boolean
    union all
    select place, relation, attnum, format('%s.%s is %s without a default, but must have one or be nullable', relation, name, words), null
    from actual
    where relation <> 'feature_flags' and not_null and not filled
        and not exists (select from required r where r.relation = actual.relation and r.name = actual.name)
    union all
    select j.place, j.relation, j.attnum,
        'feature_flag_schedules.status has the default {}, but must have ''pending''',
        format('select coalesce(quote_literal(v), ''null'') from (select (%s)::text as v) d where v is distinct from ''pending''',
            pg_get_expr(d.adbin, d.adrelid))
    from judged j
    join pg_attrdef d on d.adrelid = j.oid and d.adnum = j.attnum
    where j.relation = 'feature_flag_schedules' and j.name = 'status' and (j.type_fits or j.widened) and not j.generated
        and not exists (
            select from pg_depend f
            where f.classid = 'pg_attrdef'::regclass and f.objid = d.oid
                and not (f.refclassid = 'pg_class'::regclass and f.refobjid = j.oid)
        )

    -- Checks on the status alone must allow all four. Not evaluated if they use a user-defined function.
    union all
    select j.place, j.relation, j.attnum,
        format('feature_flag_schedules.status has the check %I, which refuses {}, but must allow pending, applied, failed and cancelled',
            c.conname),
        format('select string_agg(status, '', '') from (values (''pending''::text), (''applied''), (''failed''), (''cancelled'')) s (status)
            where (%s) is false', pg_get_expr(c.conbin, c.conrelid))
    from judged j
    join pg_constraint c on c.conrelid = j.oid and c.contype = 'c' and c.conkey = array[j.attnum]
    where j.relation = 'feature_flag_schedules' and j.name = 'status' and (j.type_fits or j.widened)
        -- In PostgreSQL 18, checks can be NOT ENFORCED.
        and to_jsonb(c) ->> 'conenforced' is distinct from 'false'
        and not exists (
            select from pg_depend f
            where f.classid = 'pg_constraint'::regclass and f.objid = c.oid
                and not (f.refclassid = 'pg_class'::regclass and f.refobjid = j.oid)
        )

    union all
    select j.place, j.relation, j.attnum, format('%s.%s is not unique, but must be the primary key or have a unique index of its own',
        j.relation, j.name), null
    from judged j
    where j.name in ('id', 'event_id') and j.attnum is not null
        and not exists (
            select from pg_index i
            where i.indrelid = j.oid and i.indisunique and i.indisvalid and i.indpred is null
                and i.indnkeyatts = 1 and i.indkey[0] = j.attnum
        )

    union all
    select relation.place, relation.name, 1600, format('%s has no valid unique index on %s, but must have one', u.relation, u.words), null
    from uniqueness u
    join relation on relation.name = u.relation and relation.state = 'usable'
    where not $2::boolean and not exists (
        select from pg_index i
        where i.indrelid = relation.oid and i.indisunique and i.indisvalid and i.indexprs is null
            and pg_get_expr(i.indpred, i.indrelid) is not distinct from u.condition
            and u.columns = (
                select array_agg(a.attname::text order by a.attname)
                from unnest(i.indkey[0 : i.indnkeyatts - 1]) as k (attnum)
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            )
    )

    union all
    select j.place, j.relation, j.attnum, format('feature_flag_schedules.flag_id has %s, but must have a validated one to feature_flags (id)',
        coalesce(
            (
                select string_agg(
                    format('the foreign key %I to %s%s', c.conname, c.confrelid::regclass,
                        case when not c.convalidated then ' (not valid)' end),
                    ' and ' order by c.conname)
                from pg_constraint c
                where c.conrelid = j.oid and c.contype = 'f' and j.attnum = any (c.conkey)
            ),
            'no foreign key')), null
    from judged j
    left join relation flags on flags.name = 'feature_flags'
    where j.relation = 'feature_flag_schedules' and j.name = 'flag_id' and j.attnum is not null
        and not exists (
            select from pg_constraint c
            join pg_attribute id on id.attrelid = c.confrelid and id.attname = 'id' and c.confkey = array[id.attnum]
            where c.conrelid = j.oid and c.contype = 'f' and c.convalidated and c.conkey = array[j.attnum] and c.confrelid = flags.oid
                and to_jsonb(c) ->> 'conenforced' is distinct from 'false'
        )

    -- Nothing fails without the guards, so nobody would notice.
    union all
    select relation.place, relation.name, 1601, format('the trigger %I of %s is %s, but must be enabled', g.name, relation.name,
        case when t.tgname is null then 'missing' else 'disabled' end), null
    from guards g
    join relation on relation.name = g.relation and relation.state = 'usable'
    left join pg_trigger t on t.tgrelid = relation.oid and t.tgname = g.name and not t.tgisinternal
    where not $2::boolean and coalesce(t.tgenabled not in ('O', 'A'), true)
    union all
    select relation.place, relation.name, 1601, 'row-level security of audit_outbox is disabled, but must be enabled', null
    from relation
    join pg_class c on c.oid = relation.oid
    where not $2::boolean and relation.name = 'audit_outbox' and relation.state = 'usable' and not c.relrowsecurity
)
select said, proof from mismatch order by place, attnum, said;
