//! A database's schema as text, one thing a line, to be compared.

use std::collections::BTreeSet;

use tokio_postgres::Client;

/// Where `migrate` keeps what it has applied.
pub const HISTORY: &str = "flag_schedules_schema_history";

/// Everything but system catalogs: relations, columns, constraints, indexes, triggers, functions, types.
const SCHEMA: &str = "
    with ours as (
        select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    )
    select format('relation %s %s, owner %s, acl %s', c.relkind, c.oid::regclass, c.relowner::regrole, c.relacl)
    from pg_class c join ours on ours.oid = c.relnamespace
    union all
    select format('column %s.%s %s%s default %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attnotnull then ' not null' end, pg_get_expr(d.adbin, d.adrelid))
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'v', 'm')
    join ours on ours.oid = c.relnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped
    union all
    select format('constraint %s on %s: %s', k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid))
    from pg_constraint k join ours on ours.oid = k.connamespace where k.contype <> 'n'
    union all
    select format('index on %s: %s', i.indrelid::regclass, pg_get_indexdef(i.indexrelid))
    from pg_index i join pg_class c on c.oid = i.indexrelid join ours on ours.oid = c.relnamespace
    union all
    select format('trigger on %s: %s', t.tgrelid::regclass, pg_get_triggerdef(t.oid))
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join ours on ours.oid = c.relnamespace where not t.tgisinternal
    union all
    select format('function %s: %s', p.oid::regprocedure, md5(p.prosrc))
    from pg_proc p join ours on ours.oid = p.pronamespace
    union all
    select format('type %s', t.oid::regtype)
    from pg_type t join ours on ours.oid = t.typnamespace where t.typrelid = 0 and t.typelem = 0";

/// The schema, and the history of its migrations where there is one.
pub async fn dump(client: &Client) -> BTreeSet<String> {
    let mut lines = structure(client).await;
    if exists(client, HISTORY).await {
        lines.extend(rows(client, HISTORY).await.into_iter().map(|row| format!("applied {row}")));
    }
    lines
}

/// The schema alone.
pub async fn structure(client: &Client) -> BTreeSet<String> {
    let rows = client.query(SCHEMA, &[]).await.unwrap_or_else(|error| panic!("{error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Whether there is such a table.
pub async fn exists(client: &Client, table: &str) -> bool {
    let row = client.query_one("select to_regclass($1) is not null", &[&table]).await;
    row.unwrap_or_else(|error| panic!("{error:?}")).get(0)
}

/// All rows of a table as JSON, in the order of their text.
pub async fn rows(client: &Client, table: &str) -> Vec<serde_json::Value> {
    let sql = format!("select to_jsonb(t) from {table} t order by to_jsonb(t)::text");
    let rows = client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}
