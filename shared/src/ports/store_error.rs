//! Why a store could not do what it was asked to do.

use thiserror::Error;

use crate::error::{BoxError, chain};

#[derive(Debug, Error)]
pub enum StoreError {
    /// The database is unreachable, out of connections, read-only, out of space, too slow, or deadlocked repeatedly. The
    /// request is fine and may succeed later.
    #[error("the database is not available")]
    Unavailable(#[source] BoxError),
    /// A row holds a value that this release cannot read.
    #[error("{table} row {id} holds something in {column} that cannot be read")]
    Corrupt {
        table: &'static str,
        /// The column, or a phrase for all of them.
        column: &'static str,
        id: String,
        #[source]
        source: BoxError,
    },
    /// A constraint or a trigger rejected the row.
    #[error("the database rejected the row: {message}")]
    Rejected {
        /// The message that PostgreSQL returned.
        message: String,
        #[source]
        source: BoxError,
    },
    /// The database refused a statement for a reason that the service should have avoided: a bug, a missing permission,
    /// or an outdated schema.
    #[error("the database refused a statement")]
    Internal(#[source] BoxError),
}

impl StoreError {
    /// A stable name, for alarms and Logs Insights.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "DatabaseUnavailable",
            Self::Corrupt { .. } => "CorruptRow",
            Self::Internal(_) | Self::Rejected { .. } => "DatabaseRefused",
        }
    }

    /// The database's message for people, without the statement.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Rejected { message, .. } => message.clone(),
            Self::Unavailable(source) | Self::Internal(source) | Self::Corrupt { source, .. } => {
                chain(&**source)
            }
        }
    }
}

/// What an error of the store means for the work that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is gone, and its last statement may have been executed. An idempotent one may be repeated.
    Lost,
    /// Deadlock or serialization failure: nothing was done, and it may be repeated at once.
    Conflict,
    /// The statement timeout, or our own.
    TooSlow,
    /// A lock was not granted in time.
    Locked,
    /// The server cannot do it now: read-only, out of connections, memory or space, starting or shutting down.
    ServerUnavailable,
    /// The data was rejected: a constraint, a trigger with any code, a value out of range.
    Rejected,
    /// Anything else: a bug, a missing permission, an outdated schema, or a trigger that raises such a code.
    Other,
}

impl Fault {
    /// The server refused the data or the statement.
    #[must_use]
    pub fn is_rejection(self) -> bool {
        matches!(self, Self::Rejected | Self::Other)
    }

    /// Everything but a rejection or [`Self::ServerUnavailable`]: each further attempt may take as long.
    #[must_use]
    pub fn is_slow(self) -> bool {
        !self.is_rejection() && self != Self::ServerUnavailable
    }
}
