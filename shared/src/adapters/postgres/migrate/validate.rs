//! Checks that the code can use this database: its encoding and its tables, which another tool may have created.

use std::fmt;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::super::session::Param;

/// refinery's history table. Not its default name: the flags' owner may use refinery in this database.
pub(super) const HISTORY: &str = "flag_schedules_schema_history";
/// Checks the history table, which refinery is about to read and write.
const HISTORY_MISMATCHES: &str = include_str!("history_mismatches.sql");
/// Checks the encoding and the three tables.
const MISMATCHES: &str = include_str!("mismatches.sql");
/// The migration that creates the outbox: before it, a table of that name is someone else's.
const OUTBOX_MIGRATION: &str = "20260210090300";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the migrations: whatever they create, add or widen may still be missing.
    Before,
    /// After them: everything must exist.
    After,
}

/// One sentence per mismatch.
#[derive(Debug)]
pub struct Mismatches(Vec<String>);

impl Mismatches {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// All mismatches, in order of tables and columns. Runs in the open transaction and leaves nothing in it.
pub(super) async fn mismatches(client: &Client, stage: Stage) -> Result<Mismatches, Error> {
    let schema = "select pg_catalog.current_schema()::pg_catalog.text as schema";
    let schema: Option<String> = client.query_typed(schema, &[]).await?.first().and_then(|row| row.get(0));
    // No name in these queries may resolve to an object that someone created in another schema.
    client.batch_execute("savepoint validation; set local search_path = pg_catalog, pg_temp").await?;
    let found = in_schema(client, schema.as_deref().unwrap_or_default(), stage).await;
    if found.is_ok() {
        client.batch_execute("rollback to savepoint validation; release savepoint validation").await?;
    }
    found.map(Mismatches)
}

async fn in_schema(client: &Client, schema: &str, stage: Stage) -> Result<Vec<String>, Error> {
    let history =
        client.query_typed(HISTORY_MISMATCHES, &[(&schema, Type::TEXT), (&HISTORY, Type::TEXT)]).await?;
    // The table's quoted name, if it exists.
    let table: Option<String> = history.first().and_then(|row| row.get("history"));
    let mut all: Vec<String> = history.iter().filter_map(|row| row.get("said")).collect();
    let outbox_made = match table {
        // Someone else's: do not even read it.
        Some(_) if !all.is_empty() => true,
        Some(table) => {
            let sql = format!("select from {table} where version = {OUTBOX_MIGRATION}");
            !client.query_typed(&sql, &[]).await?.is_empty()
        }
        None => false,
    };
    let before = stage == Stage::Before;
    let params: [Param<'_>; 3] = [(&schema, Type::TEXT), (&before, Type::BOOL), (&outbox_made, Type::BOOL)];
    for row in client.query_typed(MISMATCHES, &params).await? {
        let message: String = row.get("said");
        match row.get("proof") {
            None => all.push(message),
            Some(proof) => {
                let refused: Option<String> = prove(client, proof).await?;
                all.extend(refused.map(|refused| message.replace("{}", &refused)));
            }
        }
    }
    Ok(all)
}

/// Evaluates a default or check expression of the schema's owner, and returns the evidence against it, if any. It
/// uses only PostgreSQL's own functions.
async fn prove(client: &Client, proof: &str) -> Result<Option<String>, Error> {
    client.batch_execute("savepoint proof").await?;
    let answer = client.simple_query(proof).await;
    client.batch_execute("rollback to savepoint proof; release savepoint proof").await?;
    match answer {
        Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        })),
        Err(error) => match error.as_db_error() {
            Some(server) => Ok(Some(format!("an error ({})", server.message()))),
            None => Err(error),
        },
    }
}
