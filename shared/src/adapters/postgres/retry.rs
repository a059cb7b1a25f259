//! How often a statement that is safe to repeat is tried, and what may be told when the answer to an attempt was lost.

use std::time::{Duration, Instant};

use super::query_error::QueryError;
use crate::ports::store_error::{Fault, StoreError};

/// A statement with all that it waits for, a new connection included, may take this long.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// A statement that meets a deadlock or a serialization failure is tried this often, at most.
const CONFLICTS: u8 = 4;

/// How often a statement that is safe to repeat is tried, and until when.
pub(super) struct Retry {
    /// When the last one must have ended.
    pub(super) deadline: Instant,
    /// Whether an attempt has lost its connection: what it did may have been done.
    pub(super) lost: bool,
    conflicts: u8,
    looked_again: bool,
    rejected: bool,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self {
            deadline: Instant::now() + STATEMENT_LIMIT,
            lost: false,
            conflicts: 0,
            looked_again: false,
            rejected: false,
        }
    }

    /// Whether to look once more at what came back: an attempt that was lost may have been under way when this one began,
    /// and what it has done since is in no snapshot of this one.
    pub(super) fn may_look_again(&mut self) -> bool {
        self.lost && !std::mem::replace(&mut self.looked_again, true)
    }

    /// The error to tell: nobody knows what a lost attempt has done, so it is not one that says that nothing was.
    pub(super) fn conclude(&self, error: QueryError) -> QueryError {
        if self.lost { StoreError::Unavailable(StoreError::from(error).into()).into() } else { error }
    }

    /// Whether to try again after this error.
    pub(super) fn may_repeat(&mut self, error: &QueryError) -> bool {
        let may = match error.fault() {
            Fault::Lost => !std::mem::replace(&mut self.lost, true),
            Fault::Conflict => {
                self.conflicts += 1;
                self.conflicts < CONFLICTS
            }
            // The attempt that was lost was still under way when this one looked, and has been committed by now.
            Fault::Rejected if self.lost => {
                self.conflicts += 1;
                self.conflicts < CONFLICTS && error.is_duplicate_schedule()
            }
            _ => false,
        };
        told(may, error)
    }

    /// The same for a change. What was rejected is tried once more, to tell what passes from what stays; but not for the codes
    /// of an outbox that cannot be written.
    pub(super) fn may_repeat_write(&mut self, error: &QueryError) -> bool {
        let is_rejected = matches!(error.fault(), Fault::Rejected | Fault::Other);
        if is_rejected && !error.names_outbox() && !std::mem::replace(&mut self.rejected, true) {
            return told(matches!(error, QueryError::Driver(_)), error);
        }
        self.may_repeat(error)
    }
}

fn told(may: bool, error: &QueryError) -> bool {
    if may {
        tracing::info!(?error, "repeating a statement");
    }
    may
}
