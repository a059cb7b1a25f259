//! A connection for `migrate`, with its transaction begun. A database that is not up yet is waited for; one that will
//! never let us in is not.

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

/// One attempt to connect may take this long, until the server has let us in.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// All attempts to connect may take this long: a database that starts or fails over is there by then.
const RETRY_LIMIT: Duration = Duration::from_secs(120);
/// A statement that nobody has cancelled ends this long after the deadline.
const AFTER_DEADLINE: Duration = Duration::from_secs(5);
/// The first pause between two attempts; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why an attempt failed.
#[derive(Debug, ThisError)]
enum AttemptError {
    /// No connection, or no transaction.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server, or a pooler without one, keeps us waiting.
    #[error("no answer within {ATTEMPT_LIMIT:?}")]
    NoAnswer,
}

/// Opens a connection and begins the transaction, trying again until the deadline, or for [`RETRY_LIMIT`].
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
        if !may_pass(&error) || Instant::now() + pause >= until {
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
    // Another migrator may need longer than the role's limits, and so may making an index; but what outlives this process
    // must end some time. Nothing of it outlives the transaction.
    let left = deadline.saturating_duration_since(Instant::now()) + AFTER_DEADLINE;
    let begin = format!(
        "begin isolation level read committed;
         set local lock_timeout = 0;
         set local statement_timeout = {};
         select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings
         where name operator(pg_catalog.=) 'transaction_timeout'",
        left.as_millis()
    );
    // A pooler lets clients in while it has no server, and says so now.
    client.batch_execute(&begin).await?;
    progress.set_session(client.cancel_token());
    Ok(client)
}

/// Whether waiting may help: nobody listens, the name is not known yet, the server starts, stops or is full. Not for what
/// only a person can put right: password, role, database, certificate.
fn may_pass(error: &AttemptError) -> bool {
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
            // Poolers use this class for everything that they say themselves.
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

/// Refused, unreachable, an unknown name, too slow, closed half way; but nothing that TLS or the driver objects to.
fn is_broken_connection(error: &Error) -> bool {
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
        // What rustls objects to comes in an I/O error, of the first kind.
        let objections =
            [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput, io::ErrorKind::PermissionDenied];
        return !objections.contains(&error.kind())
            && !error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    }
    let text = error.to_string();
    error.is_closed() || ["timeout", "error connecting to server"].iter().any(|start| text.starts_with(start))
}
