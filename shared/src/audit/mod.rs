//! The audit trail: queues the events of committed changes, and delivers them to the audit log.
//!
//! It never fails or delays an operation, and loses no event: until the audit log has an event, it is in the outbox, or in
//! memory and in the function's own log. `delivery` sends events; `flush` and [`sweep`] decide when.

mod batch;
mod delivery;
mod flush;
mod recent;
pub mod render;
mod send_state;
pub mod sweep;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use recent::Recent;
use render::log_event;

use crate::domain::audit_event::{AuditEvent, EventId};
use crate::domain::time::Timestamp;
use crate::ports::audit_log::{AuditLog, LogEvent};
use crate::ports::clock::Clock;
use crate::ports::outbox::{AuditOutbox, FallbackLog};

/// Capacity of the queue of stored events; the sweep delivers what does not fit.
const MAX_STORED: usize = 1_000;

/// Rows remembered as undeletable.
const MAX_UNDELETABLE: usize = 10_000;

pub struct AuditTrail {
    outbox: Arc<dyn AuditOutbox>,
    log: Arc<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    invocation: Mutex<Invocation>,
    /// Events from the outbox that this process has delivered: a row that is still there is not sent again.
    delivered: Mutex<Recent>,
    /// Rows that could not be deleted in earlier invocations: all others come first.
    undeletable: Mutex<VecDeque<EventId>>,
}

/// Events that this process has not sent yet.
#[derive(Debug, Default)]
struct Queue {
    /// Events that are in the outbox as well.
    stored: VecDeque<StoredEvent>,
    /// Events without an outbox row, oldest first.
    direct: VecDeque<DirectEvent>,
}

/// An event with an outbox row, not rendered yet: the caller still waits for the response.
#[derive(Debug, Clone)]
struct StoredEvent {
    event: AuditEvent,
    queued_at: Timestamp,
}

/// An event without an outbox row, rendered.
#[derive(Debug, Clone)]
struct DirectEvent {
    event_id: EventId,
    event: LogEvent,
    /// Whether CloudWatch Logs rejected the event's own timestamp before.
    use_time_of_sending: bool,
    /// How often it was sent without a response.
    unanswered: u32,
    not_before: Option<Instant>,
}

/// What this invocation has learnt about the audit log and the outbox.
#[derive(Debug, Default)]
struct Invocation {
    /// The outcome of an earlier call is unknown, so anything sent now could be a copy.
    may_duplicate: bool,
    /// The longest response time.
    slowest: Duration,
    /// Rows that may still be in the outbox, though there is nothing more to send.
    finished: Vec<EventId>,
    /// Rows that could not be deleted.
    undeletable: Vec<EventId>,
    /// Most rows in a delivery, once some could not be deleted together.
    limit: Option<u16>,
}

impl AuditTrail {
    #[must_use]
    pub fn new(outbox: Arc<dyn AuditOutbox>, log: Arc<dyn AuditLog>, clock: Arc<dyn Clock>) -> Self {
        Self {
            outbox,
            log,
            clock,
            queue: Mutex::default(),
            invocation: Mutex::default(),
            delivered: Mutex::default(),
            undeletable: Mutex::default(),
        }
    }

    /// Begins an invocation. After a call without a response, nothing more is sent until the next one begins, so a log
    /// that stores events without responding gets at most one copy of an event for each invocation.
    pub fn begin_invocation(&self) {
        let last = std::mem::take(&mut *self.invocation());
        let mut undeletable = self.undeletable();
        undeletable.extend(last.undeletable);
        let excess = undeletable.len().saturating_sub(MAX_UNDELETABLE);
        undeletable.drain(..excess);
    }

    /// Queues an event that is in the outbox for the next flush.
    pub fn enqueue_stored_event(&self, event: AuditEvent) {
        let stored = StoredEvent { event, queued_at: self.clock.now() };
        let mut queue = self.queue();
        queue.stored.push_back(stored);
        if queue.stored.len() > MAX_STORED {
            queue.stored.pop_front();
        }
    }

    /// Queues events without an outbox row for the next flush. Unbounded.
    pub fn enqueue_direct_events(&self, events: Vec<AuditEvent>) {
        let direct = events.into_iter().map(|event| DirectEvent {
            event_id: event.event_id,
            event: log_event(&event),
            use_time_of_sending: false,
            unanswered: 0,
            not_before: None,
        });
        self.queue().direct.extend(direct);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held leaves two valid lists.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn invocation(&self) -> MutexGuard<'_, Invocation> {
        // As in `queue`.
        self.invocation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delivered(&self) -> MutexGuard<'_, Recent> {
        // As in `queue`.
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn undeletable(&self) -> MutexGuard<'_, VecDeque<EventId>> {
        // As in `queue`.
        self.undeletable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FallbackLog for AuditTrail {
    fn log_in_full(&self, event: &AuditEvent, reason: &str) {
        tracing::error!(
            event_id = %event.event_id.0,
            reason,
            audit_event = %render::render(event),
            "the audit outbox could not be written; the event is sent directly after the change has committed"
        );
    }
}
