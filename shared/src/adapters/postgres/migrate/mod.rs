//! Brings the schema up to date: the migrations of this release, by refinery, under an advisory lock; then what the other
//! functions' roles may do with it. All of it in one transaction, so that a failure changes nothing and a pooler in
//! transaction mode (PgBouncer, RDS Proxy) keeps nothing of it.

mod connect;
mod transaction;
mod validate;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use refinery::Target;
use thiserror::Error;
use tokio::time::{timeout, timeout_at};
use tokio_postgres::{CancelToken, Client};

use self::transaction::Transaction;
use self::validate::{Mismatches, Stage};
use super::opening::Opener;
use super::tls::ConnectionsError;
use crate::config::DatabaseSettings;
use crate::error::Source;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// What the roles of the other functions may do, where they are there. Not a migration: they may be made after any of them.
const GRANTS: &str = include_str!("../../../../../migrations/roles/grants.sql");
/// The advisory lock that migrators take: "flagsche" in ASCII. The same for all releases, at session or transaction level.
const LOCK: i64 = 0x666c_6167_7363_6865;
/// Where refinery keeps what it has applied. Not its default name: the flags' owner may use refinery in this database.
const HISTORY: &str = "flag_schedules_schema_history";
/// Connecting to one address of the server may take this long: of several, the first may be gone.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// One attempt to connect may take this long, until the server has let us in.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// All attempts to connect may take this long: a database that starts or fails over is there by then.
const RETRY_LIMIT: Duration = Duration::from_secs(120);
/// A statement that nobody has cancelled ends this long after the deadline.
const AFTER_DEADLINE: Duration = Duration::from_secs(5);
/// How long the server may take to hear that a statement is given up.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// The migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// The newest migration that the database has; it may be newer than this release's.
    pub schema_version: Option<String>,
}

/// Why the database could not be brought up to date. Nothing has changed.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// TLS cannot be set up.
    #[error("{variable} cannot be used: {0}", variable = .0.variable())]
    Connections(#[from] ConnectionsError),
    /// No connection, or the lock could not be taken.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// Tables, or the database itself, are such that the code could not use them.
    #[error("this database cannot be used, and nothing was changed: {0}")]
    Unusable(Mismatches),
    /// A migration failed.
    #[error("a migration failed")]
    Failed(#[source] Source),
    /// The other functions' roles could not be given their rights.
    #[error("the roles could not be given their rights")]
    Grants(#[source] Source),
    /// The time was up.
    #[error("the time was up while {doing}")]
    OutOfTime {
        /// What it was used up by.
        doing: &'static str,
    },
}

/// How far a run has come, for whoever has to end it.
struct Progress(Mutex<(Option<CancelToken>, &'static str)>);

impl Progress {
    fn new() -> Self {
        Self(Mutex::new((None, "connecting to the database")))
    }

    fn is_now(&self, doing: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = doing;
    }

    fn has(&self, session: CancelToken) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(session);
    }

    fn last(&self) -> (Option<CancelToken>, &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Applies what the database does not have yet, until `deadline`. A second run changes nothing; of two at once, one waits
/// and finds nothing left to do; a schema newer than this release is success.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(settings: &DatabaseSettings, deadline: Instant) -> Result<Migrated, MigrateError> {
    let opener = Opener::new(settings, "flag-schedules migrate", CONNECT_LIMIT)?;
    let progress = Progress::new();
    if let Ok(result) = timeout_at(deadline.into(), run(&opener, deadline, &progress)).await {
        return result;
    }
    let (session, doing) = progress.last();
    // The session is closed by now, but the server would first finish the statement that runs there.
    if let Some(session) = session
        && !matches!(timeout(CANCEL_LIMIT, opener.cancel(session)).await, Ok(Ok(())))
    {
        tracing::warn!("what the database still does could not be cancelled; its statement timeout ends it");
    }
    Err(MigrateError::OutOfTime { doing })
}

async fn run(opener: &Opener, deadline: Instant, progress: &Progress) -> Result<Migrated, MigrateError> {
    let client = connect::begin(opener, deadline, progress).await?;
    let result = apply(&client, progress).await;
    if result.is_err() {
        // The connection is closed next, which ends the transaction as well; a pooler likes to be told.
        let _ = timeout(CANCEL_LIMIT, client.batch_execute("rollback")).await;
    }
    result
}

/// All that is done in the transaction that has begun on this connection.
async fn apply(client: &Client, progress: &Progress) -> Result<Migrated, MigrateError> {
    let unavailable = |error: tokio_postgres::Error| MigrateError::Unavailable(error.into());
    let failed = |error: refinery::Error| MigrateError::Failed(error.into());
    progress.is_now("waiting for another migrator to finish");
    let lock = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
    client.batch_execute(&lock).await.map_err(unavailable)?;
    progress.is_now("applying a migration");
    // The role's limit holds for the locks of tables: while a migration waits for one, everybody else waits behind it.
    client.batch_execute("set local lock_timeout to default").await.map_err(unavailable)?;

    usable(client, Stage::Before).await?;
    let mut runner = embedded::migrations::runner().set_target(Target::Latest).set_abort_missing(false);
    runner.set_migration_table_name(HISTORY);
    let mut transaction = Transaction(client);
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

async fn usable(client: &Client, stage: Stage) -> Result<(), MigrateError> {
    let mismatches = validate::mismatches(client, stage).await;
    match mismatches.map_err(|error| MigrateError::Failed(error.into()))? {
        mismatches if mismatches.is_empty() => Ok(()),
        mismatches => Err(MigrateError::Unusable(mismatches)),
    }
}
