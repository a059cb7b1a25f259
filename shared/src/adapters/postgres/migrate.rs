//! Brings the schema up to date: the migrations of this release, by refinery, under an advisory lock; then what the other
//! functions' roles may do with it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use refinery::Target;
use thiserror::Error;
use tokio::time::{timeout, timeout_at};
use tokio_postgres::CancelToken;

use super::opening::Opener;
use super::tls::ConnectionsError;
use crate::config::DatabaseSettings;
use crate::error::Source;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// What the roles of the other functions may do, where they are there. Not a migration: they may be made after any of them.
const GRANTS: &str = include_str!("../../../../migrations/roles/grants.sql");
/// The advisory lock that migrators take: "flagsche" in ASCII.
const LOCK: i64 = 0x666c_6167_7363_6865;
/// Where refinery keeps what it has applied. Not its default name: the flags' owner may use refinery in this database.
const HISTORY: &str = "flag_schedules_schema_history";
/// Connecting may take this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
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

/// Why the database could not be brought up to date. Nothing of a failed migration is left behind.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// TLS cannot be set up.
    #[error("{variable} cannot be used: {0}", variable = .0.variable())]
    Connections(#[from] ConnectionsError),
    /// No connection, or the lock could not be taken.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// A migration failed.
    #[error("a migration failed")]
    Failed(#[source] Source),
    /// The schema is up to date, but the other functions' roles may not use it.
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
#[derive(Default)]
struct Progress {
    connected: OnceLock<CancelToken>,
    locked: AtomicBool,
}

/// Applies what the database does not have yet, until `deadline`. A second run changes nothing; of two at once, one waits
/// and finds nothing left to do; a schema newer than this release is success.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(settings: &DatabaseSettings, deadline: Instant) -> Result<Migrated, MigrateError> {
    let opener = Opener::new(settings, "flag-schedules migrate", CONNECT_LIMIT)?;
    let progress = Progress::default();
    if let Ok(result) = timeout_at(deadline.into(), run(&opener, deadline, &progress)).await {
        return result;
    }
    let Some(session) = progress.connected.get() else {
        return Err(MigrateError::OutOfTime { doing: "connecting to the database" });
    };
    // The session is closed by now, but the server would first finish the statement that runs there.
    if !matches!(timeout(CANCEL_LIMIT, opener.cancel(session.clone())).await, Ok(Ok(()))) {
        tracing::warn!("what the database still does could not be cancelled; its statement timeout ends it");
    }
    let doing = if progress.locked.load(Ordering::Relaxed) {
        "applying a migration"
    } else {
        "waiting for another migrator to finish"
    };
    Err(MigrateError::OutOfTime { doing })
}

async fn run(opener: &Opener, deadline: Instant, progress: &Progress) -> Result<Migrated, MigrateError> {
    let unavailable = |error: tokio_postgres::Error| MigrateError::Unavailable(error.into());
    let mut client = opener.open().await.map_err(|error| MigrateError::Unavailable(error.into()))?;
    progress.connected.get_or_init(|| client.cancel_token());
    // The role's limits are for the service's statements. Another migrator may need longer, and so may making an index;
    // but what outlives this process must end some time.
    let left = deadline.saturating_duration_since(Instant::now()) + AFTER_DEADLINE;
    let limits = format!("set lock_timeout = 0; set statement_timeout = {}", left.as_millis());
    client.batch_execute(&limits).await.map_err(unavailable)?;
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await.map_err(unavailable)?;
    progress.locked.store(true, Ordering::Relaxed);
    // But not for a table's lock: while a migration waits for one, everybody else waits behind it.
    client.batch_execute("reset lock_timeout").await.map_err(unavailable)?;
    let mut runner = embedded::migrations::runner().set_target(Target::Latest).set_abort_missing(false);
    runner.set_migration_table_name(HISTORY);
    let report = runner.run_async(&mut *client).await.map_err(|error| MigrateError::Failed(error.into()))?;
    let newest = runner
        .get_last_applied_migration_async(&mut *client)
        .await
        .map_err(|error| MigrateError::Failed(error.into()))?;
    client.batch_execute(GRANTS).await.map_err(|error| MigrateError::Grants(error.into()))?;
    // The lock goes with the session.
    Ok(Migrated {
        applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
        schema_version: newest.map(|migration| migration.to_string()),
    })
}
