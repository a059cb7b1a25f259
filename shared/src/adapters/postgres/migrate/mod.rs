//! Applies this release's migrations with refinery, under an advisory lock, then grants the other functions' roles
//! their rights. It is all one transaction, so that a failure changes nothing and a pooler in transaction mode
//! (PgBouncer, RDS Proxy) retains nothing.

mod connect;
mod error;
mod progress;
mod transaction;
mod validate;

use std::time::{Duration, Instant};

use refinery::Target;
use tokio::time::{timeout, timeout_at};
use tokio_postgres::Client;

pub use error::MigrateError;

use self::progress::Progress;
use self::transaction::Transaction;
use self::validate::{HISTORY, Stage};
use super::connector::Connector;
use super::settings::DatabaseSettings;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Rights of the other functions' roles, for those that exist. Not a migration: roles may be created after any of
/// them.
const GRANTS: &str = include_str!("../../../../../migrations/roles/grants.sql");
/// All migrators' advisory lock: "flagsche" in ASCII. The same in all releases, at session or transaction level.
const LOCK: i64 = 0x666c_6167_7363_6865;
/// For opening one connection, across all hosts.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// For sending the server a cancel request or a rollback.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// Applied by this run, in order.
    pub applied: Vec<String>,
    /// The newest in the database, which may be newer than this release's.
    pub schema_version: Option<String>,
}

/// What becomes of a database that is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    /// The service could not use it.
    Fails,
    /// It suffices if no migration is missing.
    IsChecked,
}

/// Applies missing migrations until `deadline`. A second run changes nothing; of two concurrent runs, one waits and
/// finds nothing to do; a schema newer than this release counts as success.
pub async fn migrate(
    settings: &DatabaseSettings,
    deadline: Instant,
    read_only: ReadOnly,
) -> Result<Migrated, MigrateError> {
    let connector = Connector::new(settings, "flag-schedules migrate", CONNECT_LIMIT)?;
    let progress = Progress::default();
    if let Ok(result) = timeout_at(deadline.into(), run(&connector, deadline, read_only, &progress)).await {
        return result;
    }
    let progress::State { session, doing } = progress.get();
    // The session is closed by now, but the server would first finish the statement running in it.
    if let Some(session) = session
        && !matches!(timeout(CANCEL_LIMIT, connector.cancel(session)).await, Ok(Ok(())))
    {
        tracing::warn!("what the database still does could not be cancelled; its statement timeout ends it");
    }
    Err(MigrateError::OutOfTime { doing })
}

async fn run(
    connector: &Connector,
    deadline: Instant,
    read_only: ReadOnly,
    progress: &Progress,
) -> Result<Migrated, MigrateError> {
    let client = connect::begin(connector, deadline, progress).await?;
    let result = apply(&client, read_only, progress).await;
    if result.is_err() {
        // The connection is closed next, which also ends the transaction, but poolers prefer an explicit rollback.
        let _ = timeout(CANCEL_LIMIT, client.batch_execute("rollback")).await;
    }
    result
}

/// Runs in the transaction that is open on this connection.
async fn apply(client: &Client, read_only: ReadOnly, progress: &Progress) -> Result<Migrated, MigrateError> {
    let unavailable = |error: tokio_postgres::Error| MigrateError::Unavailable(error.into());
    let failed = |error: refinery::Error| MigrateError::Failed(error.into());
    progress.set("waiting for another migrator to finish");
    let lock = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
    client.batch_execute(&lock).await.map_err(unavailable)?;
    progress.set("applying a migration");
    // The role's limit applies to table locks: while a migration waits for one, everyone else queues behind it.
    client.batch_execute("set local lock_timeout to default").await.map_err(unavailable)?;

    usable(client, Stage::Before).await?;
    let mut runner = embedded::migrations::runner().set_target(Target::Latest).set_abort_missing(false);
    runner.set_migration_table_name(HISTORY);
    let mut transaction = Transaction(client);
    if read_only == ReadOnly::IsChecked && is_read_only(client).await.map_err(unavailable)? {
        let applied = runner.get_applied_migrations_async(&mut transaction).await.map_err(failed)?;
        if runner.get_migrations().iter().all(|migration| applied.contains(migration)) {
            usable(client, Stage::After).await?;
            let schema_version = applied.last().map(ToString::to_string);
            return Ok(Migrated { applied: Vec::new(), schema_version });
        }
    }
    let report = runner.run_async(&mut transaction).await.map_err(failed)?;
    let newest = runner.get_last_applied_migration_async(&mut transaction).await.map_err(failed)?;
    client.batch_execute(GRANTS).await.map_err(|error| MigrateError::Grants(error.into()))?;
    usable(client, Stage::After).await?;
    client.batch_execute("commit").await.map_err(|error| MigrateError::Failed(error.into()))?;
    Ok(Migrated {
        applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
        schema_version: newest.map(|migration| migration.to_string()),
    })
}

async fn is_read_only(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let setting =
        "select pg_catalog.current_setting('transaction_read_only') operator(pg_catalog.=) 'on' as it";
    Ok(client.query_typed(setting, &[]).await?.first().is_some_and(|row| row.get("it")))
}

async fn usable(client: &Client, stage: Stage) -> Result<(), MigrateError> {
    let mismatches = validate::mismatches(client, stage).await;
    match mismatches.map_err(|error| MigrateError::Failed(error.into()))? {
        mismatches if mismatches.is_empty() => Ok(()),
        mismatches => Err(MigrateError::Unusable(mismatches)),
    }
}
