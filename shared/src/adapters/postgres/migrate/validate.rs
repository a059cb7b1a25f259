//! Whether the code can use this database: its encoding and its tables, which another tool may have made.

use std::fmt;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::super::connection::Param;

/// Where refinery keeps what it has applied. Not its default name: the flags' owner may use refinery in this database.
pub(super) const HISTORY: &str = "flag_schedules_schema_history";
/// The history of migrations: what refinery is about to read and to write.
const HISTORY_MISMATCHES: &str = include_str!("history_mismatches.sql");
/// The encoding and the three tables.
const MISMATCHES: &str = include_str!("mismatches.sql");
/// The migration that makes the outbox: without it, a table of that name is somebody else's.
const MAKES_OUTBOX: &str = "20260210090300";

/// When it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the migrations: what they make, add or widen may still be missing.
    Before,
    /// After them: all of it must be there.
    After,
}

/// What is not as the code needs it, one sentence each.
#[derive(Debug)]
pub struct Mismatches(Vec<String>);

impl Mismatches {
    /// Whether there are none.
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

/// All mismatches, in the order of tables and columns. Asks in the open transaction, and leaves nothing of it there.
pub(super) async fn mismatches(client: &Client, stage: Stage) -> Result<Mismatches, Error> {
    let schema = "select pg_catalog.current_schema()::pg_catalog.text as schema";
    let schema: Option<String> = client.query_typed(schema, &[]).await?.first().and_then(|row| row.get(0));
    // Nothing that anybody has made in another schema can be meant by a name in what is asked here.
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
    // The table, quoted, if it is there.
    let table: Option<String> = history.first().and_then(|row| row.get("history"));
    let mut all: Vec<String> = history.iter().filter_map(|row| row.get("said")).collect();
    let outbox_made = match table {
        // Somebody else's: it is not even read.
        Some(_) if !all.is_empty() => true,
        Some(table) => {
            let sql = format!("select from {table} where version = {MAKES_OUTBOX}");
            !client.query_typed(&sql, &[]).await?.is_empty()
        }
        None => false,
    };
    let before = stage == Stage::Before;
    let params: [Param<'_>; 3] = [(&schema, Type::TEXT), (&before, Type::BOOL), (&outbox_made, Type::BOOL)];
    for row in client.query_typed(MISMATCHES, &params).await? {
        let said: String = row.get("said");
        match row.get("proof") {
            None => all.push(said),
            Some(proof) => {
                let refused: Option<String> = prove(client, proof).await?;
                all.extend(refused.map(|refused| said.replace("{}", &refused)));
            }
        }
    }
    Ok(all)
}

/// Evaluates an expression of the schema's owner, a default or a check; gives what speaks against it. It uses nothing but
/// PostgreSQL's own functions.
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
