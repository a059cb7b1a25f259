//! The outbox: audit events that are not known to be delivered yet.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::store_error::StoreError;
use crate::domain::audit_event::{AuditEvent, EventId};
use crate::error::BoxError;

#[async_trait]
pub trait AuditOutbox: Send + Sync {
    /// Locks undelivered rows, oldest first, and deletes them; passes them to `sender`, and commits if all were delivered.
    /// Otherwise the deletion is undone, and the outcome of each is stored, as by [`settle`](Self::settle). Nothing is sent unless
    /// its row could be deleted: it would be sent again and again.
    ///
    /// Rows locked by another process are skipped; when this process dies, its rows are free at once. Returns by `deadline`,
    /// whatever the database does. Rows whose event type this release does not know are skipped.
    async fn deliver(
        &self,
        which: Selection<'_>,
        sender: &dyn EventSender,
        deadline: Instant,
    ) -> Result<Delivery, DeliveryError>;

    /// Stores the outcomes of events that were sent: one by one, if they cannot be stored together. Events whose rows are gone
    /// are ignored.
    async fn settle(
        &self,
        outcomes: &[(EventId, DeliveryOutcome)],
        deadline: Instant,
    ) -> Result<(), StoreError>;

    async fn backlog(&self) -> Result<AuditBacklog, StoreError>;
}

/// Sends outbox rows to the audit log.
#[async_trait]
pub trait EventSender: Send + Sync {
    /// Returns the outcome of each row, in the same order. Never fails: a row that could not be sent by `until` is
    /// [`DeliveryOutcome::Kept`].
    async fn send(&self, rows: Vec<OutboxRow>, until: Instant) -> Vec<DeliveryOutcome>;
}

/// Records an event before its change is committed without an outbox row.
pub trait FallbackLog: Send + Sync {
    /// Logs the whole event, and why the outbox could not take it. Sends nothing.
    fn log_in_full(&self, event: &AuditEvent, reason: &str);
}

/// Which rows of the outbox: those written at least `age` ago, whose writers have had their chance, and the processor's own
/// of any age.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    pub age: Duration,
    pub limit: u16,
    /// Already tried.
    pub except: &'a [EventId],
}

#[derive(Debug)]
pub struct OutboxRow {
    pub event_id: EventId,
    /// Whether CloudWatch Logs rejected the event's own timestamp before.
    pub use_time_of_sending: bool,
    pub event: Result<AuditEvent, Unrenderable>,
}

/// Why a row is no event.
#[derive(Debug)]
pub struct Unrenderable {
    pub error: BoxError,
    /// The row's JSON as stored, so that the function's log keeps it.
    pub raw: String,
}

/// What was sent.
#[derive(Debug, Default)]
pub struct Delivery {
    pub counts: DeliveryCounts,
    /// Why not all outcomes could be stored: some of the rows are as they were.
    pub unsettled: Option<StoreError>,
}

/// A delivery failed.
#[derive(Debug)]
pub struct DeliveryError {
    pub error: StoreError,
    /// Rows that could be locked but not deleted: none was sent. One of them may be the cause; a single row is. Empty if the
    /// cause is another.
    pub undeletable: Vec<EventId>,
}

impl From<StoreError> for DeliveryError {
    fn from(error: StoreError) -> Self {
        Self { error, undeletable: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// CloudWatch Logs has it: the row is deleted.
    Delivered,
    /// This process has delivered it before, but its row was still there: it is not sent again, and the row is deleted.
    DeliveredBefore,
    /// Not sent for now: the row stays unchanged.
    Kept,
    /// Its timestamp was rejected: the next attempt uses the time of sending.
    TimestampRejected,
    /// It can never be delivered, for this reason: the row stays, but no longer blocks others.
    Dead(String),
}

impl DeliveryOutcome {
    /// CloudWatch Logs has the event, so its row is deleted.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered | Self::DeliveredBefore)
    }
}

/// The result of a delivery, in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    pub held: usize,
    /// Those delivered before are not among them.
    pub delivered: usize,
    pub dead: usize,
}

impl DeliveryCounts {
    /// Of one outcome for each event.
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a DeliveryOutcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            counts.held += 1;
            counts.delivered += usize::from(*outcome == DeliveryOutcome::Delivered);
            counts.dead += usize::from(matches!(outcome, DeliveryOutcome::Dead(_)));
        }
        counts
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditBacklog {
    /// Undelivered events, without dead ones.
    pub count: u64,
    pub oldest_age: Duration,
    pub dead: u64,
}
