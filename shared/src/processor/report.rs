//! What a tick did, or why it could do nothing.

use serde::Serialize;
use thiserror::Error;

use crate::domain::apply::{Failure, Outcome};
use crate::ports::store_error::StoreError;

/// What a tick did: the invocation's result, and its metrics.
#[derive(Debug, Default, Serialize)]
pub struct TickReport {
    /// Schedules that were applied.
    pub applied: u64,
    /// Schedules that failed as `invalid_updates`.
    pub failed_invalid_updates: u64,
    /// Schedules that failed as `expired`.
    pub failed_expired: u64,
    /// Schedules that failed as `rejected_by_database`.
    pub failed_rejected_by_database: u64,
    /// Schedules still due at the end; `null` when it could not be counted.
    pub still_due: Option<u64>,
    /// For how long the oldest of them has been due, in milliseconds.
    pub oldest_due_age_ms: Option<u64>,
    /// Audit events delivered in this tick.
    pub audit_delivered: u64,
    /// Audit events not delivered yet; `null` when it could not be counted.
    pub audit_backlog: Option<u64>,
    /// The age of the oldest of them, in milliseconds.
    pub oldest_audit_event_age_ms: Option<u64>,
    /// Audit events that can never be delivered.
    pub audit_dead: Option<u64>,
    /// Flags that an error kept it from working on; what is due of them is the next tick's.
    pub flags_left: u64,
    /// Flags that it passed over at last because somebody else holds a lock on them or on something due of them.
    pub flags_locked: u64,
    /// Whether an error ended the work early; what it left is the next tick's.
    pub interrupted: bool,
    /// How long applying took, in milliseconds; the rest is delivering events and counting what is left.
    pub applying_ms: u64,
    /// How long the tick took, in milliseconds.
    pub duration_ms: u64,
}

impl TickReport {
    pub(super) fn ended(&self) -> u64 {
        self.applied + self.failed()
    }

    /// Schedules that failed, for whatever reason.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_invalid_updates + self.failed_expired + self.failed_rejected_by_database
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

/// Why a tick did nothing at all, although something was due or it could not know.
#[derive(Debug, Error)]
pub enum TickError {
    /// The store failed, for every flag.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whatever is due is locked by others.
    #[error(
        "nothing was applied: others hold locks on all {flags} flags with something due, or on their schedules"
    )]
    AllLocked {
        /// How many flags that are.
        flags: u64,
    },
    /// The time was up.
    #[error("nothing was applied: the time of the invocation was up")]
    OutOfTime,
}

impl TickError {
    /// A stable name, for alarms and Logs Insights.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Store(StoreError::Unavailable(_)) => "DatabaseUnavailable",
            Self::Store(StoreError::Corrupt { .. }) => "CorruptRow",
            Self::Store(StoreError::Refused(_) | StoreError::Rejected { .. }) => "DatabaseRefused",
            Self::AllLocked { .. } => "AllLocked",
            Self::OutOfTime => "OutOfTime",
        }
    }
}
