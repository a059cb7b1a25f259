//! The ports: what the service and the processor need of the world, and what each promises. Adapters implement them.
//!
//! A method is a whole step: no transaction leaks out of one. Absence is `Ok(None)`, never an empty answer that hides
//! a failure.

mod due;

use std::time::Instant;

use async_trait::async_trait;

use crate::domain::audit_event::AuditEvent;
use crate::domain::delivery::{AuditBacklog, Carried, Fate, LogEvent, OutboxRow, Selection};
use crate::domain::flag::FlagAddress;
use crate::domain::step::{Cancellation, Cancelled, Created, Creation, Page, PageQuery};
use crate::domain::time::Timestamp;
use crate::error::{PutError, Source, StoreError};

pub use due::{Batch, BatchFailure, BatchRequest, Claim, DuePosition, DueStore, Ended, StillDue};

/// The function's own clock: for tokens, logs and early refusals. What is due is judged by the database's.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Flags and their schedules. Every change and its audit event are stored together or not at all; only where the
/// outbox cannot be written the change is stored alone: then the whole event goes to the journal before the commit, and
/// comes back as [`EventRoute::Direct`](crate::domain::step::EventRoute).
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// Stores a pending schedule, if the flag is there and the database's clock agrees with `scheduled_at`.
    /// Repeating it with the same ids has no further effect.
    async fn create(&self, creation: &Creation, journal: &dyn EventJournal) -> Result<Created, StoreError>;

    /// One page of a flag's schedules in the order `scheduled_at`, `id`; `None` when there is no such flag.
    async fn list(&self, flag: &FlagAddress, query: &PageQuery) -> Result<Option<Page>, StoreError>;

    /// Cancels a schedule of that flag if it is pending, whoever else wants it at the same time.
    /// Repeating it with the same event id has no further effect.
    async fn cancel(
        &self,
        cancellation: &Cancellation,
        journal: &dyn EventJournal,
    ) -> Result<Cancelled, StoreError>;
}

/// Where the event of a change is written down before the change is committed without it.
pub trait EventJournal: Send + Sync {
    /// Logs the whole event, and why the outbox could not take it. Sends nothing.
    fn log_in_full(&self, event: &AuditEvent, reason: &str);
}

/// Audit events not yet known to be delivered.
#[async_trait]
pub trait AuditOutbox: Send + Sync {
    /// Locks undelivered rows, oldest first, hands them to `courier` and stores the fate of each, all in one
    /// transaction. Rows that somebody else holds are skipped; when this process dies, its rows are free at once.
    /// Ends by `deadline`, whatever the database does: sending, storing the fates and giving up included. Rows whose
    /// event type this release does not know are left alone.
    async fn deliver(
        &self,
        which: Selection<'_>,
        courier: &dyn Courier,
        deadline: Instant,
    ) -> Result<Carried, StoreError>;

    /// What waits in the outbox.
    async fn backlog(&self) -> Result<AuditBacklog, StoreError>;
}

/// Takes events out of the outbox to where they belong.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Carries the rows until `until` and says of each, in the same order, what became of it. Never fails: a row that
    /// could not be sent is [`Fate::Kept`].
    async fn carry(&self, rows: Vec<OutboxRow>, until: Instant) -> Vec<Fate>;
}

/// The audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Sends one batch, which keeps the limits of `PutLogEvents`, and returns the indexes of the events that were
    /// refused for their timestamp; all others are stored. What may have been stored is not sent again: it is
    /// [`PutError::Ambiguous`]. Ends by `deadline`.
    async fn put(&self, batch: &[LogEvent], deadline: Instant) -> Result<Vec<usize>, PutError>;
}

/// Where key sets come from.
#[async_trait]
pub trait KeyServer: Send + Sync {
    /// What is at this address, within limits of time and size.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, Source>;
}
