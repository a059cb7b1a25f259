//! The audit trail: where the events of committed changes are, and how they get to the audit log.
//!
//! What it promises: it never fails and never delays an operation; and no event is lost, for the event of every change
//! is in the outbox, or in memory and in the function's own log, until the audit log has it. [`delivery`] sends events,
//! [`sweep`] says when.

mod batch;
mod delivery;
pub mod render;
mod send_state;
pub mod sweep;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use render::log_event;

use crate::domain::audit_event::{AuditEvent, EventId};
use crate::ports::audit_log::AuditLog;
use crate::ports::audit_log::LogEvent;
use crate::ports::clock::Clock;
use crate::ports::outbox::{AuditOutbox, EventJournal};

/// So many ids of events in the outbox are remembered; what is forgotten is the sweep's.
const MAX_WRITTEN: usize = 100_000;

/// Where events wait, and the two ports they pass through.
pub struct AuditTrail {
    outbox: Arc<dyn AuditOutbox>,
    log: Arc<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    invocation: Mutex<Invocation>,
}

/// What this process has written and not sent yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Events in the outbox.
    written: VecDeque<EventId>,
    /// Events that have no outbox row, oldest first.
    direct: VecDeque<DirectEvent>,
}

/// An event that is nowhere but here, rendered.
#[derive(Debug, Clone)]
struct DirectEvent {
    event_id: EventId,
    event: LogEvent,
    /// Whether CloudWatch Logs refused the event's own timestamp before.
    refused_before: bool,
    /// How often it was sent and may have been stored.
    unanswered: u32,
    /// It is not sent again before this.
    not_before: Option<Instant>,
}

/// What is known of the audit log in this invocation.
#[derive(Debug, Default)]
struct Invocation {
    /// Events may have been stored without an answer: whatever is sent now could be a copy.
    silent: bool,
    /// The longest time that the log took to answer.
    slowest: Duration,
}

impl AuditTrail {
    /// A trail from this outbox to this log.
    #[must_use]
    pub fn new(outbox: Arc<dyn AuditOutbox>, log: Arc<dyn AuditLog>, clock: Arc<dyn Clock>) -> Self {
        Self { outbox, log, clock, waiting: Mutex::default(), invocation: Mutex::default() }
    }

    /// Begins an invocation. After events that may have been stored, nothing more is sent until the next one begins: a
    /// log that does not answer gets at most one copy of an event for each invocation.
    pub fn begin_invocation(&self) {
        *self.invocation() = Invocation::default();
    }

    /// Takes note of an event that is in the outbox.
    pub fn enqueue_stored(&self, event_id: EventId) {
        let mut waiting = self.waiting();
        waiting.written.push_back(event_id);
        if waiting.written.len() > MAX_WRITTEN {
            waiting.written.pop_front();
        }
    }

    /// Takes the events of a committed change that have no outbox row, as many as there are: the next flush sends them.
    pub fn enqueue_direct(&self, events: Vec<AuditEvent>) {
        let direct = events.into_iter().map(|event| DirectEvent {
            event_id: event.event_id,
            event: log_event(&event),
            refused_before: false,
            unanswered: 0,
            not_before: None,
        });
        self.waiting().direct.extend(direct);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the lock was held leaves two valid lists: nothing is half done in them.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn invocation(&self) -> MutexGuard<'_, Invocation> {
        // As in `waiting`.
        self.invocation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventJournal for AuditTrail {
    fn log_in_full(&self, event: &AuditEvent, reason: &str) {
        tracing::error!(
            event_id = %event.event_id.0,
            reason,
            audit_event = %render::render(event),
            "the audit outbox could not be written; the event is sent directly after the change has committed"
        );
    }
}
