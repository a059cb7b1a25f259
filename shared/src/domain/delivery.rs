//! Audit events on their way from the outbox to the audit log.

use std::time::Duration;

use super::audit_event::{EventContext, EventId, EventType};
use super::schedule::Schedule;
use crate::error::Source;

/// Which rows of the outbox.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// These, wherever they are.
    These(&'a [EventId]),
    /// At most `limit` of those that were written at least this long ago, oldest first.
    OlderThan {
        /// How long ago.
        age: Duration,
        /// How many at most.
        limit: u16,
        /// Not these: they have been tried.
        except: &'a [EventId],
    },
}

/// A row of the outbox.
#[derive(Debug)]
pub struct OutboxRow {
    /// The event's id.
    pub event_id: EventId,
    /// Whether CloudWatch Logs refused the event's own timestamp before.
    pub refused_before: bool,
    /// The event's facts, or why they cannot be read.
    pub facts: Result<EventFacts, Source>,
    /// The row's JSON as stored, for the log: what cannot be rendered must not be lost.
    pub raw: String,
}

/// What an event is rendered from.
#[derive(Debug)]
pub struct EventFacts {
    /// Which transition.
    pub event_type: EventType,
    /// What the service knew.
    pub context: EventContext,
    /// What the statement returned.
    pub schedule: Schedule,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// CloudWatch Logs has it: the row goes.
    Delivered,
    /// Not sent, for now: the row stays as it is.
    Kept,
    /// Its timestamp was refused: the next attempt uses the time of sending.
    Refused,
    /// It can never be delivered, for this reason: the row stays but stops blocking the others.
    Dead(String),
}

/// The result of one [`deliver`](crate::ports::AuditOutbox::deliver).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Rows that were held.
    pub held: usize,
    /// Rows that were delivered and are gone.
    pub delivered: usize,
    /// Rows that were marked dead.
    pub dead: usize,
}

/// What waits in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditBacklog {
    /// Undelivered events, dead ones not counted.
    pub count: u64,
    /// The age of the oldest of them.
    pub oldest_age: Duration,
    /// Dead events.
    pub dead: u64,
}

/// One event for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The rendered event.
    pub message: String,
}
