//! Retries of statements that are safe to repeat, and the error to report after losing the response to an attempt.

use std::time::{Duration, Instant};

use super::query_error::QueryError;
use crate::ports::store_error::{Fault, StoreError};

/// For a statement with everything it waits for, including retries and a new connection.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// Maximum attempts on deadlocks and serialization failures.
const CONFLICTS: u8 = 4;

pub(super) struct Retry {
    /// For all attempts together.
    pub(super) deadline: Instant,
    /// Whether an attempt lost its connection, so that it may have been committed.
    pub(super) lost: bool,
    conflicts: u8,
    looked_again: bool,
    rejected: bool,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self::until(Instant::now() + STATEMENT_LIMIT)
    }

    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, lost: false, conflicts: 0, looked_again: false, rejected: false }
    }

    /// Whether to run the statement again despite its result: a lost attempt may have been in progress when it
    /// started, and anything that attempt did since is not in its snapshot.
    pub(super) fn may_look_again(&mut self) -> bool {
        self.lost && !std::mem::replace(&mut self.looked_again, true)
    }

    /// The error to report: the outcome of a lost attempt is unknown, so never one that says that nothing was done.
    pub(super) fn conclude(&self, error: QueryError) -> QueryError {
        if self.lost { StoreError::Unavailable(StoreError::from(error).into()).into() } else { error }
    }

    pub(super) fn may_repeat(&mut self, error: &QueryError) -> bool {
        let may = match error.fault() {
            Fault::Lost => !std::mem::replace(&mut self.lost, true),
            Fault::Conflict => {
                self.conflicts += 1;
                self.conflicts < CONFLICTS
            }
            // The lost attempt was in progress when this one looked, and has been committed since.
            Fault::Rejected if self.lost => {
                self.conflicts += 1;
                self.conflicts < CONFLICTS && error.is_duplicate_schedule()
            }
            _ => false,
        };
        log_retry(may, error)
    }

    /// Like [`Self::may_repeat`], for changes. Retries a rejection once, to tell transient errors from permanent
    /// ones, but not the error codes of an unwritable outbox.
    pub(super) fn may_repeat_write(&mut self, error: &QueryError) -> bool {
        let is_rejected = matches!(error.fault(), Fault::Rejected | Fault::Other);
        if is_rejected && !error.is_typical_of_outbox() && !std::mem::replace(&mut self.rejected, true) {
            return log_retry(matches!(error, QueryError::Driver(_)), error);
        }
        self.may_repeat(error)
    }
}

fn log_retry(may: bool, error: &QueryError) -> bool {
    if may {
        tracing::info!(?error, "repeating a statement");
    }
    may
}
