//! Compares the audit trail with the database: transitions without an event, events without a transition, and events that
//! contradict their row.
//!
//! **Bounded memory.** A window may hold millions of events, and neither side fits into memory. The window is cut into
//! [slices](slice): consecutive ranges of time with some ten thousand transitions each, chosen by reading the rows in the
//! order of time. Of a transition the slice keeps its key (schedule id and type) and a digest of the event that the row
//! calls for, rendered by the same [`AuditEvent`](crate::domain::audit_event::AuditEvent) as the event itself. Then the log
//! is read once, page by page, in no particular order: an event whose digest is that of its key is done. What remains is
//! small: rows are read again, by id, only for events that have no such digest ("strays"), and only these are compared field
//! by field ([`compare`]).
//!
//! **Timestamps.** The log orders by its own timestamp, which is `occurred_at` however late an event is delivered; except
//! that an event which was refused for its timestamp (older than 14 days) is stored under the time of sending. So every
//! event in the window is judged, whatever its `occurred_at`: as a stray, by the row that it names. And a transition without
//! an event in its slice is only a candidate. At the end ([`run`]) candidates are looked for again: among the strays, in the
//! outbox, once more around their own time (an event delivered moments ago may not be visible at once), and if they are
//! almost 14 days old in everything that was stored since.
//!
//! **Order of reading.** Rows first, then the log; candidates in the outbox before the second look at the log. An event
//! leaves the outbox only after the log has it, so one that moves meanwhile is found in one of the two.

mod compare;
mod event;
mod report;
mod run;
mod slice;
#[cfg(test)]
mod tests;
pub mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

pub use report::{Different, Findings, Missing, Reason, Unknown, Verification};

use crate::domain::time::Timestamp;
use crate::ports::store_error::StoreError;
use crate::ports::trail_reader::{ReadError, TrailReader};
use crate::ports::transitions::Transitions;
use window::{Window, WindowError};

pub struct Verifier {
    trail: Arc<dyn TrailReader>,
    transitions: Arc<dyn Transitions>,
    limits: Limits,
}

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Transitions in a slice. More only if they share a millisecond.
    slice: usize,
    /// Rows in a page.
    page: u16,
    /// Candidates that are kept before they are looked for again.
    candidates: usize,
    /// Before that, so that events delivered a moment ago are visible.
    settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { slice: 10_000, page: 1_000, candidates: 50_000, settle: Duration::from_secs(3) }
    }
}

/// Why a run has no result.
#[derive(Debug, Error)]
pub enum VerifyError {
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Trail(ReadError),
    #[error(
        "the outbox holds more than {0} undelivered events; verify again when the processor has delivered them"
    )]
    TooManyUndelivered(usize),
}

impl VerifyError {
    /// A stable name, for alarms and Logs Insights.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Window(_) => "InvalidInput",
            Self::Store(StoreError::Unavailable(_)) => "DatabaseUnavailable",
            Self::Store(StoreError::Corrupt { .. }) => "CorruptRow",
            Self::Store(StoreError::Internal(_) | StoreError::Rejected { .. }) => "DatabaseRefused",
            Self::Trail(_) => "TrailUnreadable",
            Self::TooManyUndelivered(_) => "TooManyUndelivered",
        }
    }
}

impl Verifier {
    #[must_use]
    pub fn new(trail: Arc<dyn TrailReader>, transitions: Arc<dyn Transitions>) -> Self {
        Self { trail, transitions, limits: Limits::default() }
    }

    /// Verifies as much of the window as there is time for; the invocation ends at `deadline`.
    ///
    /// # Errors
    /// [`VerifyError`] when a side cannot be read.
    pub async fn verify(
        &self,
        window: Window,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Verification, VerifyError> {
        run::Run::new(self, window, now, deadline).verify().await
    }
}
