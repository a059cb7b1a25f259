//! What can go wrong, in the service's own words. No HTTP here: `http::problem` decides what a caller is told.

use std::error::Error as StdError;

use thiserror::Error;

use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;

/// A source, kept for the log.
pub type Source = Box<dyn StdError + Send + Sync>;

/// Why the store could not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database is not reachable, out of connections, read-only, out of space, too slow, or in a deadlock twice.
    /// Nothing is wrong with the request: it may succeed later.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// A row holds what this release cannot read.
    #[error("{table} row {id} holds something in {column} that cannot be read")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column, or what stands for all of them.
        column: &'static str,
        /// The row's id.
        id: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// A constraint or a trigger rejected the row.
    #[error("the database rejected the row: {message}")]
    Rejected {
        /// The message that PostgreSQL returned.
        message: String,
        /// The whole error.
        #[source]
        source: Source,
    },
    /// The database refused a statement in a way that this service should have known: a bug, a missing permission, or
    /// a schema that is not up to date.
    #[error("the database refused a statement")]
    Refused(#[source] Source),
}

impl StoreError {
    /// What the database says, for people: without the statement.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Rejected { message, .. } => message.clone(),
            Self::Unavailable(source) | Self::Refused(source) | Self::Corrupt { source, .. } => {
                chain(&**source)
            }
        }
    }
}

/// Why a schedule could not be created, listed or cancelled.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// There is no such flag in that environment.
    #[error("no such flag")]
    NoSuchFlag,
    /// There is no such schedule of that flag.
    #[error("no such schedule")]
    NoSuchSchedule,
    /// The idempotency key was used before, for another change.
    #[error("the idempotency key was used before, for another change")]
    KeyReused,
    /// The schedule has reached its end already; here it is as it now stands.
    #[error("the schedule is {}", .0.status)]
    NotPending(Box<Schedule>),
    /// The database's clock says that `scheduled_at` is in the past or too far ahead.
    #[error("scheduled_at is not within the time that can be scheduled")]
    NotInTime {
        /// What the database's clock said.
        database_now: Timestamp,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an error of the store says of the work that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is gone; what it did last may have been done. What is safe to repeat may be, on a new one.
    Lost,
    /// Deadlock or serialization failure: nothing was done, and it may be repeated at once.
    Conflict,
    /// The statement timeout, or ours.
    TooSlow,
    /// A lock was not granted in time.
    Locked,
    /// The server cannot do it now: read-only, out of connections, memory or space, going down or coming up.
    Unavailable,
    /// The data was rejected: a constraint, a trigger with whatever code, a value out of range.
    Rejected,
    /// Anything else: a bug, a missing permission, a schema that is not up to date; or a trigger with such a code.
    Other,
}

/// Why a batch was not taken.
#[derive(Debug, Error)]
pub enum PutError {
    /// Not now: not reachable, throttled, not permitted, or no such log group. Nothing is wrong with the events.
    #[error("CloudWatch Logs did not take the events")]
    Unavailable(#[source] Source),
    /// Nobody knows: the batch was sent, and no answer came that says what became of it. It may be stored.
    #[error("CloudWatch Logs may or may not have taken the events")]
    Ambiguous(#[source] Source),
    /// The batch is not acceptable, whenever it is sent: at least one of its events is at fault.
    #[error("CloudWatch Logs refused the batch")]
    Invalid(#[source] Source),
}

/// An error with all of its sources in one line, for the log.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some errors repeat their source in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line
}
