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

use crate::domain::audit_event::{AuditEvent, EventContext, EventId, EventType};
use crate::domain::schedule::Schedule;
use crate::domain::step::{EventPlace, Recorded};
use crate::error::{Source, chain};
use crate::ports::{AuditLog, AuditOutbox, Clock};

/// How many events without an outbox row are kept in memory for another attempt; each has been logged whole before.
const MAX_DIRECT: usize = 10_000;

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

    /// Takes note of a committed change, so that the next flush sends its event.
    pub fn record(
        &self,
        event_id: EventId,
        event_type: EventType,
        context: EventContext,
        recorded: &Recorded,
    ) {
        match &recorded.event {
            EventPlace::Outbox => self.written(event_id),
            EventPlace::Nowhere(reason) => {
                self.without_outbox(event_id, event_type, context, &recorded.schedule, reason);
            }
        }
    }

    /// Takes note of an event that stands in the outbox.
    pub fn written(&self, event_id: EventId) {
        self.waiting().written.push(event_id);
    }

    /// Takes an event whose outbox row could not be written: it is logged whole, and the next flush sends it directly.
    pub fn without_outbox(
        &self,
        event_id: EventId,
        event_type: EventType,
        context: EventContext,
        schedule: &Schedule,
        reason: &Source,
    ) {
        let reason = chain(reason.as_ref());
        match AuditEvent::of(event_id, event_type, context, schedule) {
            Ok(event) => {
                let rendered = delivery::render(&event);
                tracing::error!(audit_event = %rendered, reason, "the audit outbox could not be written; sending the event directly");
                let mut waiting = self.waiting();
                if waiting.direct.len() < MAX_DIRECT {
                    waiting.direct.push(event);
                }
            }
            Err(error) => {
                tracing::error!(schedule_id = %schedule.id, %error, reason, "an audit event could not be rendered");
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // A panic while the lock was held leaves two valid lists: nothing is half done in them.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
