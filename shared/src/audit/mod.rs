//! The audit trail: where the events of committed changes are, and how they get to the audit log.
//!
//! What it promises: it never fails and never delays an operation; and no event is lost, for the event of every change
//! stands in the outbox until the audit log has it. [`delivery`] carries events, [`sweep`] says when.

pub mod batch;
pub mod delivery;
pub mod sweep;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::audit_event::{AuditEvent, EventId};
use crate::ports::{AuditLog, AuditOutbox, Clock, EventJournal};

/// Where events wait, and the two ports they pass through.
pub struct AuditTrail {
    outbox: Arc<dyn AuditOutbox>,
    log: Arc<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
}

/// What this process has written and not sent yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Events in the outbox.
    written: Vec<EventId>,
    /// Events that have no outbox row.
    direct: Vec<AuditEvent>,
}

impl AuditTrail {
    /// A trail from this outbox to this log.
    #[must_use]
    pub fn new(outbox: Arc<dyn AuditOutbox>, log: Arc<dyn AuditLog>, clock: Arc<dyn Clock>) -> Self {
        Self { outbox, log, clock, waiting: Mutex::default() }
    }

    /// Takes note of an event that stands in the outbox.
    pub fn written(&self, event_id: EventId) {
        self.waiting().written.push(event_id);
    }

    /// Takes events of committed changes that are not in the outbox, for the next flush to send.
    pub fn send_directly(&self, events: Vec<AuditEvent>) {
        self.waiting().direct.extend(events);
    }

    /// How many events wait to be sent that are not in the outbox.
    #[must_use]
    pub fn direct_waiting(&self) -> usize {
        self.waiting().direct.len()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // A panic while the lock was held leaves two valid lists: nothing is half done in them.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventJournal for AuditTrail {
    fn log_in_full(&self, event: &AuditEvent, reason: &str) {
        let rendered = delivery::render(event);
        tracing::error!(audit_event = %rendered, reason, "the audit outbox could not be written; the event is sent directly");
    }
}
