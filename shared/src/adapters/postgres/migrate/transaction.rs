//! Runs refinery in a transaction that is already open. On its own, it would begin and commit one per migration, and
//! prepare named statements, which a pooler in transaction mode may not know in the next one.

use std::borrow::Cow;
use std::num::ParseIntError;
use std::time::SystemTime;

use refinery::{Migration, SchemaVersion};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use thiserror::Error;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// Parts of landed migrations, and equivalent schema-qualified SQL that runs instead. Landed migrations are never
/// edited, but these name functions and operators without a schema, in ways that PostgreSQL resolves to an exact
/// match in `public`, if there is one, before its own more general ones. Anyone who may create objects in that schema
/// could make `migrate` run their function. Later migrations qualify with `pg_catalog` themselves.
const QUALIFIED: [(&str, &str); 6] = [
    (
        "where i.indrelid = 'feature_flags'::regclass",
        "where i.indrelid operator(pg_catalog.=) 'feature_flags'::pg_catalog.regclass",
    ),
    (
        "select array_agg(a.attname::text order by a.attname)",
        "select pg_catalog.array_agg(a.attname::pg_catalog.text order by a.attname)",
    ),
    (
        "from unnest(i.indkey[0 : i.indnkeyatts - 1])",
        "from pg_catalog.unnest(i.indkey[0 : i.indnkeyatts operator(pg_catalog.-) 1])",
    ),
    (
        "on a.attrelid = i.indrelid and a.attnum = k.attnum",
        "on a.attrelid operator(pg_catalog.=) i.indrelid and a.attnum operator(pg_catalog.=) k.attnum",
    ),
    (
        ") = array['environment', 'flag_key']",
        ") operator(pg_catalog.=) array['environment', 'flag_key']::pg_catalog.text[]",
    ),
    ("where status = 'pending'", "where status operator(pg_catalog.=) 'pending'"),
];

pub(super) struct Transaction<'a>(pub(super) &'a Client);

#[derive(Debug, Error)]
pub(super) enum TransactionError {
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
    /// The history table is not refinery's.
    #[error("a row of the history of migrations has no {0}")]
    Missing(&'static str),
    #[error("a row of the history of migrations has a {0} that is no number")]
    NoNumber(&'static str, #[source] ParseIntError),
}

impl AsyncTransaction for Transaction<'_> {
    type Error = TransactionError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, TransactionError> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(&qualified(query)).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Transaction<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, TransactionError> {
        let answers = self.0.simple_query(query).await?;
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(migration).collect()
    }
}

impl AsyncMigrate for Transaction<'_> {}

/// Nothing reads when it was applied.
fn migration(row: &SimpleQueryRow) -> Result<Migration, TransactionError> {
    let text = |index, column| {
        row.try_get(index).map_err(TransactionError::from)?.ok_or(TransactionError::Missing(column))
    };
    let version: SchemaVersion =
        text(0, "version")?.parse().map_err(|error| TransactionError::NoNumber("version", error))?;
    let checksum =
        text(3, "checksum")?.parse().map_err(|error| TransactionError::NoNumber("checksum", error))?;
    Ok(Migration::applied(version, text(1, "name")?.to_owned(), SystemTime::UNIX_EPOCH.into(), checksum))
}

fn qualified(sql: &str) -> Cow<'_, str> {
    QUALIFIED.iter().fold(Cow::Borrowed(sql), |sql, (landed, qualified)| {
        if sql.contains(landed) { Cow::Owned(sql.replace(landed, qualified)) } else { sql }
    })
}

#[cfg(test)]
mod tests {
    use super::super::embedded;
    use super::*;

    #[test]
    fn what_is_run_instead_is_said_by_a_landed_migration() {
        let runner = embedded::migrations::runner();
        let landed: Vec<_> = runner.get_migrations().iter().filter_map(Migration::sql).collect();

        for (said, run) in QUALIFIED {
            let sql =
                landed.iter().find(|sql| sql.contains(said)).unwrap_or_else(|| panic!("nobody says {said}"));
            let instead = qualified(sql);
            assert!(instead.contains(run) && !instead.contains(said), "{instead}");
        }
    }
}
