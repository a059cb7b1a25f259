//! Carries events to the audit log: renders them, cuts legal batches, and finds out what became of each.

use std::time::Instant;

use async_trait::async_trait;

use super::AuditTrail;
use super::batch::{EVENT_OVERHEAD, MAX_BYTES, batches, weight};
use crate::domain::audit_event::{AuditEvent, EventId};
use crate::domain::delivery::{Fate, LogEvent, OutboxRow};
use crate::error::{PutError, chain};
use crate::ports::Courier;

/// Carries outbox rows until a deadline.
pub(super) struct Carrier<'a> {
    pub(super) trail: &'a AuditTrail,
    pub(super) deadline: Instant,
    /// From then on, what has been achieved is enough: it is to be stored before more is sent.
    pub(super) enough: Instant,
}

/// What there is to know of an event on its way; the events themselves stand beside, one after the other, as the port
/// takes them.
struct Parcel {
    /// Its place in the answer.
    index: usize,
    event_id: EventId,
    refused_before: bool,
}

/// One event as one line of JSON.
#[must_use]
pub fn render(event: &AuditEvent) -> String {
    // Serialising cannot fail: no map with other than string keys, no fallible `Serialize` in it.
    serde_json::to_string(event).unwrap_or_default()
}

#[async_trait]
impl Courier for Carrier<'_> {
    async fn carry(&self, rows: Vec<OutboxRow>) -> Vec<Fate> {
        let mut fates = vec![Fate::Kept; rows.len()];
        let mut parcels = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let event_id = row.event_id;
            let refused_before = row.refused_before;
            let rendered = row.facts.map_err(|error| chain(error.as_ref())).and_then(|facts| {
                AuditEvent::of(event_id, facts.event_type, facts.context, &facts.schedule)
                    .map_err(|error| error.to_string())
            });
            match rendered {
                Ok(event) => parcels.push(self.pack(index, &event, refused_before)),
                Err(reason) => {
                    tracing::error!(event_id = %event_id.0, reason, "an audit event cannot be rendered and is dead");
                    fates[index] = Fate::Dead(reason);
                }
            }
        }
        self.send(parcels, &mut fates).await;
        fates
    }
}

impl Carrier<'_> {
    /// Sends events that have no outbox row; returns those that must be tried again.
    pub(super) async fn carry_direct(&self, events: Vec<AuditEvent>) -> Vec<AuditEvent> {
        let mut fates = vec![Fate::Kept; events.len()];
        let parcels =
            events.iter().enumerate().map(|(index, event)| self.pack(index, event, false)).collect();
        self.send(parcels, &mut fates).await;
        let kept = |fate: &Fate| matches!(fate, Fate::Kept | Fate::Refused);
        events.into_iter().zip(&fates).filter(|(_, fate)| kept(fate)).map(|(event, _)| event).collect()
    }

    fn pack(&self, index: usize, event: &AuditEvent, refused_before: bool) -> (Parcel, LogEvent) {
        let timestamp = if refused_before { self.trail.clock.now() } else { event.occurred_at };
        let parcel = Parcel { index, event_id: event.event_id, refused_before };
        (parcel, LogEvent { timestamp_ms: timestamp.to_utc().timestamp_millis(), message: render(event) })
    }

    /// Sends all of it, and what was refused for its timestamp once more with the time of sending.
    async fn send(&self, parcels: Vec<(Parcel, LogEvent)>, fates: &mut [Fate]) {
        let (fit, oversized): (Vec<_>, Vec<_>) =
            parcels.into_iter().partition(|(_, event)| weight(event) <= MAX_BYTES);
        for (parcel, event) in oversized {
            let limit = MAX_BYTES - EVENT_OVERHEAD;
            fates[parcel.index] = dead(&parcel, &event, &format!("the event is larger than {limit} bytes"));
        }
        let mut refused = self.send_ordered(fit, fates).await;
        let now = self.trail.clock.now().to_utc().timestamp_millis();
        for (parcel, event) in &mut refused {
            fates[parcel.index] = Fate::Refused;
            event.timestamp_ms = now;
            parcel.refused_before = true;
        }
        // What is refused here was refused with the time of sending: `send_ordered` has declared it dead.
        self.send_ordered(refused, fates).await;
    }

    /// Sends in the order of time; returns what was refused for its own timestamp.
    async fn send_ordered(
        &self,
        mut parcels: Vec<(Parcel, LogEvent)>,
        fates: &mut [Fate],
    ) -> Vec<(Parcel, LogEvent)> {
        parcels.sort_by_key(|(_, event)| event.timestamp_ms);
        let (parcels, events): (Vec<Parcel>, Vec<LogEvent>) = parcels.into_iter().unzip();
        let mut refused = vec![false; parcels.len()];
        let mut batches = batches(&events);
        batches.reverse();
        let mut achieved = false;
        while let Some(range) = batches.pop() {
            let now = Instant::now();
            if now >= self.deadline || (achieved && now >= self.enough) {
                break;
            }
            match self.trail.log.put(&events[range.clone()], self.deadline).await {
                Ok(rejected) => {
                    achieved = true;
                    for offset in 0..range.len() {
                        let (parcel, event) = (&parcels[range.start + offset], &events[range.start + offset]);
                        if !rejected.contains(&offset) {
                            fates[parcel.index] = Fate::Delivered;
                        } else if parcel.refused_before {
                            fates[parcel.index] = dead(
                                parcel,
                                event,
                                "CloudWatch Logs refused the event even with the time of sending",
                            );
                        } else {
                            refused[range.start + offset] = true;
                        }
                    }
                }
                Err(PutError::Invalid(error)) if range.len() == 1 => {
                    achieved = true;
                    let parcel = &parcels[range.start];
                    fates[parcel.index] = dead(parcel, &events[range.start], &chain(error.as_ref()));
                }
                Err(PutError::Invalid(_)) => {
                    let middle = range.start + range.len() / 2;
                    batches.push(middle..range.end);
                    batches.push(range.start..middle);
                }
                Err(error @ PutError::Unavailable(_)) => {
                    let kept = parcels.len() - range.start;
                    tracing::warn!(
                        error = chain(&error),
                        kept,
                        "audit events were not delivered and stay where they are"
                    );
                    break;
                }
            }
        }
        let parcels = parcels.into_iter().zip(events).zip(refused);
        parcels.filter_map(|(parcel, refused)| refused.then_some(parcel)).collect()
    }
}

/// An event that can never be delivered is at least in the function's own log, whole.
fn dead(parcel: &Parcel, event: &LogEvent, reason: &str) -> Fate {
    tracing::error!(
        event_id = %parcel.event_id.0,
        audit_event = %event.message,
        reason,
        "an audit event can never be delivered and is dead"
    );
    Fate::Dead(reason.to_owned())
}
