//! What a tick did, or why it could do nothing.

use serde::Serialize;
use thiserror::Error;

use crate::domain::apply::{Failure, Outcome};
use crate::ports::store_error::StoreError;

/// What a tick did: the invocation's result, and its metrics.
#[derive(Debug, Default, Serialize)]
pub struct TickReport {
    pub applied: u64,
    pub failed_invalid_updates: u64,
    pub failed_expired: u64,
    pub failed_rejected_by_database: u64,
    /// Schedules still due at the end; `null` when it could not be counted.
    pub still_due: Option<u64>,
    /// How long the oldest of them has been due.
    pub oldest_due_age_ms: Option<u64>,
    pub audit_delivered: u64,
    /// Audit events not delivered yet; `null` when it could not be counted.
    pub audit_backlog: Option<u64>,
    pub oldest_audit_event_age_ms: Option<u64>,
    pub audit_dead: Option<u64>,
    /// Flags skipped because of an error, and left to the next tick.
    pub flags_left: u64,
    /// Flags skipped in the last pass because they, or due schedules of theirs, are locked by others.
    pub flags_locked: u64,
    /// Whether an error ended the work early, and left the rest to the next tick.
    pub interrupted: bool,
    /// Of [`duration_ms`](Self::duration_ms), the time spent applying; the rest is delivering and counting.
    pub applying_ms: u64,
    pub duration_ms: u64,
}

impl TickReport {
    pub(super) fn ended(&self) -> u64 {
        self.applied + self.failed()
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_invalid_updates + self.failed_expired + self.failed_rejected_by_database
    }

    /// Logs a tick that ended schedules, with the id that their events have in `request.request_id`. Not a line for each of
    /// them: a tick may end a hundred thousand.
    pub fn log(&self, request_id: &str) {
        if self.ended() > 0 {
            let (applied, failed) = (self.applied, self.failed());
            tracing::info!(request_id, applied, failed, "the tick ended schedules");
        }
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Applied(_) => self.applied += 1,
            Outcome::Failed(Failure::InvalidUpdates(_)) => self.failed_invalid_updates += 1,
            Outcome::Failed(Failure::Expired { .. }) => self.failed_expired += 1,
            Outcome::Failed(Failure::RejectedByDatabase(_)) => self.failed_rejected_by_database += 1,
        }
    }
}

/// Why a tick did nothing at all, although something was due or may have been.
#[derive(Debug, Error)]
pub enum TickError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "nothing was applied: others hold locks on all {flags} flags with something due, or on their schedules"
    )]
    AllLocked { flags: u64 },
    #[error("nothing was applied: the time of the invocation was up")]
    OutOfTime,
}

impl TickError {
    /// A stable name, for alarms and Logs Insights.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Store(error) => error.name(),
            Self::AllLocked { .. } => "AllLocked",
            Self::OutOfTime => "OutOfTime",
        }
    }
}
