//! What a tick did, or why it could do nothing.

use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::domain::apply::{Failure, Outcome};
use crate::domain::time::Timestamp;
use crate::ports::due::Ended;
use crate::ports::outbox::DeliveryCounts;
use crate::ports::store_error::StoreError;

/// What a tick did: the invocation's result, and its metrics.
#[derive(Debug, Default, Serialize)]
pub struct TickReport {
    pub applied: u64,
    pub failed_invalid_updates: u64,
    pub failed_expired: u64,
    pub failed_unexpected_state: u64,
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
    /// How long after their time schedules were applied or failed.
    pub lateness: Lateness,
    /// How long after its time the tick began; `null` when the event does not say for when it was meant.
    pub trigger_delay_ms: Option<u64>,
    /// Of [`duration_ms`](Self::duration_ms), the time spent applying, and the time spent waiting for what came due; the rest
    /// is delivering and counting.
    pub applying_ms: u64,
    pub waiting_ms: u64,
    pub duration_ms: u64,
}

impl TickReport {
    pub(super) fn ended(&self) -> u64 {
        self.applied + self.failed()
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_invalid_updates
            + self.failed_expired
            + self.failed_unexpected_state
            + self.failed_rejected_by_database
    }

    /// Logs a tick that ended schedules, with the id that their events have in `request.request_id`. Not a line for each of
    /// them: a tick may end a hundred thousand.
    pub fn log(&self, request_id: &str) {
        if self.ended() > 0 {
            let (applied, failed) = (self.applied, self.failed());
            tracing::info!(request_id, applied, failed, "the tick ended schedules");
        }
    }

    /// Without the time spent waiting.
    #[must_use]
    pub fn working_ms(&self) -> u64 {
        self.duration_ms.saturating_sub(self.waiting_ms)
    }

    pub(super) fn count_delivered(&mut self, counts: DeliveryCounts) {
        self.audit_delivered += u64::try_from(counts.delivered).unwrap_or(u64::MAX);
    }

    pub(super) fn count(&mut self, ended: &Ended) {
        self.lateness.add(ended.lateness);
        let count = match &ended.outcome {
            Outcome::Applied(_) => &mut self.applied,
            Outcome::Failed(failure, _) => match failure {
                Failure::InvalidUpdates(_) | Failure::InvalidExpect(_) => &mut self.failed_invalid_updates,
                Failure::Expired { .. } => &mut self.failed_expired,
                Failure::UnexpectedState(_) => &mut self.failed_unexpected_state,
                Failure::RejectedByDatabase(_) => &mut self.failed_rejected_by_database,
            },
        };
        *count += 1;
    }
}

/// Delays in milliseconds. Serialises to percentiles (nearest rank), `null` without any.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lateness(Vec<u64>);

impl Lateness {
    fn add(&mut self, lateness: Duration) {
        self.0.push(millis(lateness));
    }

    /// At most `count` of the delays, evenly from the least to the greatest, both included.
    #[must_use]
    pub fn sample(&self, count: usize) -> Vec<u64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        if sorted.len() <= count {
            return sorted;
        }
        let last = sorted.len() - 1;
        (0..count).filter_map(|index| sorted.get(last * index / (count - 1)).copied()).collect()
    }
}

impl Serialize for Lateness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let percentile = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1);
        let mut fields = serializer.serialize_struct("Lateness", 3)?;
        fields.serialize_field("p50_ms", &percentile(50))?;
        fields.serialize_field("p99_ms", &percentile(99))?;
        fields.serialize_field("max_ms", &sorted.last())?;
        fields.end()
    }
}

/// How long after the time of its event a tick began. EventBridge gives it in whole seconds; a direct invocation has none.
#[must_use]
pub fn trigger_delay_ms(event_time: Option<&str>, now: Timestamp) -> Option<u64> {
    let meant = Timestamp::parse(event_time?)?;
    u64::try_from(now.since(meant).num_milliseconds().max(0)).ok()
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

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
