//! Connects for `migrate` and begins its transaction. Waits for a database that is not up yet, but not for one that
//! will never accept us.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use thiserror::Error as ThisError;
use tokio::time::{sleep, timeout, timeout_at};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::connector::{Connector, OpenError};
use super::error::MigrateError;
use super::progress::Progress;
use crate::error::chain;

/// For one attempt to connect and begin the transaction.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// For all attempts: long enough for a database to start or fail over.
const RETRY_LIMIT: Duration = Duration::from_secs(120);
/// A statement that was not cancelled ends this long after the deadline.
const AFTER_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between attempts doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, ThisError)]
enum AttemptError {
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server, or a pooler without one, does not respond.
    #[error("no answer within {ATTEMPT_LIMIT:?}")]
    NoAnswer,
}

/// Retries until the deadline, or for [`RETRY_LIMIT`].
pub(super) async fn begin(
    connector: &Connector,
    deadline: Instant,
    progress: &Progress,
) -> Result<ClientWrapper, MigrateError> {
    let until = deadline.min(Instant::now() + RETRY_LIMIT);
    let mut pause = FIRST_PAUSE;
    let mut last: Option<AttemptError> = None;
    loop {
        let error = match timeout_at(until.into(), attempt(connector, deadline, progress)).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(match last {
                    Some(error) => MigrateError::Unavailable(error.into()),
                    None => MigrateError::OutOfTime { doing: "connecting to the database" },
                });
            }
        };
        if !is_transient(&error) || Instant::now() + pause >= until {
            return Err(MigrateError::Unavailable(error.into()));
        }
        tracing::info!(reason = chain(&error), "the database is not available yet; trying again");
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        last = Some(error);
    }
}

async fn attempt(
    connector: &Connector,
    deadline: Instant,
    progress: &Progress,
) -> Result<ClientWrapper, AttemptError> {
    let beginning = timeout(ATTEMPT_LIMIT, begin_once(connector, deadline, progress));
    Ok(beginning.await.map_err(|_| AttemptError::NoAnswer)??)
}

async fn begin_once(
    connector: &Connector,
    deadline: Instant,
    progress: &Progress,
) -> Result<ClientWrapper, OpenError> {
    let client = connector.open().await?;
    // Another migrator, or building an index, may take longer than the role's limits allow, but whatever outlives
    // this process must end eventually. None of these settings outlive the transaction.
    let left = deadline.saturating_duration_since(Instant::now()) + AFTER_DEADLINE;
    let begin = format!(
        "begin isolation level read committed;
         set local lock_timeout = 0;
         set local statement_timeout = {};
         select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings
         where name operator(pg_catalog.=) 'transaction_timeout'",
        left.as_millis()
    );
    // A pooler accepts clients while it has no server, and reports that only now.
    client.batch_execute(&begin).await?;
    progress.set_session(client.cancel_token());
    Ok(client)
}

/// Whether waiting may help: nothing listens, the name does not resolve yet, the server is starting, stopping or
/// full. Not for faults that only a person can fix: password, role, database, certificate.
fn is_transient(error: &AttemptError) -> bool {
    let error = match error {
        AttemptError::NoAnswer | AttemptError::Open(OpenError::TooSlow) => return true,
        AttemptError::Open(OpenError::Token(_)) => return false,
        AttemptError::Open(OpenError::Driver(error)) => error,
    };
    match error.as_db_error() {
        Some(server) => match server.code() {
            &SqlState::TOO_MANY_CONNECTIONS
            | &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN
            | &SqlState::CANNOT_CONNECT_NOW => true,
            // Poolers use this class for all errors of their own.
            code => code.code().starts_with("08") && !is_final(server.message()),
        },
        None => is_broken_connection(error),
    }
}

fn is_final(message: &str) -> bool {
    let final_words = [
        "authentication failed",
        "no such database",
        "no such user",
        "does not exist",
        "SSL required",
        "not allowed",
    ];
    final_words.iter().any(|words| message.contains(words))
}

/// Refused, unreachable, unknown name, timed out, closed halfway; but no objection of TLS or the driver.
fn is_broken_connection(error: &Error) -> bool {
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
        // rustls reports its objections as I/O errors, of the first kind.
        let objections =
            [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput, io::ErrorKind::PermissionDenied];
        return !objections.contains(&error.kind())
            && !error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    }
    let text = error.to_string();
    error.is_closed() || ["timeout", "error connecting to server"].iter().any(|start| text.starts_with(start))
}
