//! Sends audit events to the audit log: in legal batches, with an outcome for each event.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::AuditTrail;
use super::batch::{EVENT_OVERHEAD, MAX_BYTES, batches, weight};
use super::recent::Digest;
use super::render::log_event;
use super::send_state::{Outgoing, Rejection, SendState, SendStats, storable_reason};
use crate::domain::audit_event::EventId;
use crate::error::chain;
use crate::ports::audit_log::{LogEvent, PutError};
use crate::ports::outbox::{DeliveryOutcome, EventSender, OutboxRow, Unrenderable};

/// Sends events, and remembers how it went.
pub(super) struct Sender<'a> {
    trail: &'a AuditTrail,
    sent: AtomicBool,
    stopped: AtomicBool,
    rows: Mutex<Rows>,
    unanswered: Mutex<Vec<usize>>,
}

/// Rows that were sent, by what became of them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) delivered: Vec<EventId>,
    /// Another delivery may send them.
    pub(super) kept: Vec<EventId>,
    /// Delivered before.
    pub(super) repeated: Vec<EventId>,
    pub(super) dead: Vec<EventId>,
}

#[async_trait]
impl EventSender for Sender<'_> {
    async fn send(&self, rows: Vec<OutboxRow>, until: Instant) -> Vec<DeliveryOutcome> {
        let mut outcomes = vec![DeliveryOutcome::Kept; rows.len()];
        let mut sent: Vec<(EventId, Option<Digest>)> = Vec::with_capacity(rows.len());
        let mut events = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let OutboxRow { event_id, use_time_of_sending, event } = row;
            let event = match event {
                Ok(event) => log_event(&event),
                Err(Unrenderable { error, raw }) => {
                    let reason = chain(error.as_ref());
                    tracing::error!(
                        event_id = %event_id.0,
                        reason,
                        outbox_row = raw,
                        "an audit event cannot be rendered and is dead"
                    );
                    outcomes[index] = DeliveryOutcome::Dead(storable_reason(&reason));
                    sent.push((event_id, None));
                    continue;
                }
            };
            let digest = Digest::of(&event);
            sent.push((event_id, Some(digest)));
            if self.trail.delivered().contains(event_id, digest) {
                outcomes[index] = DeliveryOutcome::DeliveredBefore;
            } else {
                events.push((Outgoing { index, event_id, use_time_of_sending }, event));
            }
        }
        self.send_all(events, &mut outcomes, until).await;
        let mut rows = Rows::default();
        let mut delivered = self.trail.delivered();
        for ((id, digest), outcome) in sent.into_iter().zip(&outcomes) {
            match (outcome, digest) {
                (DeliveryOutcome::Delivered, Some(digest)) => {
                    delivered.insert(id, digest);
                    rows.delivered.push(id);
                }
                (DeliveryOutcome::Kept | DeliveryOutcome::TimestampRejected, _) => rows.kept.push(id),
                (DeliveryOutcome::DeliveredBefore, _) => rows.repeated.push(id),
                (DeliveryOutcome::Dead(_) | DeliveryOutcome::Delivered, _) => rows.dead.push(id),
            }
        }
        drop(delivered);
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        outcomes
    }
}

impl<'a> Sender<'a> {
    pub(super) fn new(trail: &'a AuditTrail) -> Self {
        Self {
            trail,
            sent: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            rows: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }

    pub(super) fn rows(self) -> Rows {
        self.rows.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Indexes of events that may have been stored.
    pub(super) fn unanswered(&self) -> Vec<usize> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether sending ended before everything had been tried.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether anything may have been stored.
    pub(super) fn sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends events from memory, and returns the outcome of each. With each, whether its timestamp was rejected before.
    pub(super) async fn send_queued(
        &self,
        events: impl Iterator<Item = (EventId, bool, LogEvent)>,
        until: Instant,
    ) -> Vec<DeliveryOutcome> {
        let outgoing = |(index, (event_id, use_time_of_sending, event))| {
            (Outgoing { index, event_id, use_time_of_sending }, event)
        };
        let events: Vec<_> = events.enumerate().map(outgoing).collect();
        let mut outcomes = vec![DeliveryOutcome::Kept; events.len()];
        self.send_all(events, &mut outcomes, until).await;
        outcomes
    }

    /// Sends everything, and events whose timestamps were rejected once more with the time of sending. A refused event
    /// is dead only if another one was accepted: a log that accepts nothing is itself at fault.
    async fn send_all(
        &self,
        outgoing: Vec<(Outgoing, LogEvent)>,
        outcomes: &mut [DeliveryOutcome],
        until: Instant,
    ) {
        let (mut fit, oversized): (Vec<_>, Vec<_>) =
            outgoing.into_iter().partition(|(_, event)| weight(event) <= MAX_BYTES);
        for (outgoing, event) in oversized {
            let limit = MAX_BYTES - EVENT_OVERHEAD;
            outcomes[outgoing.index] =
                outgoing.dead(&event, &format!("the event is larger than {limit} bytes"));
        }
        let now = self.trail.clock.now().to_utc().timestamp_millis();
        for (outgoing, event) in &mut fit {
            // Times before 1970 would make the whole batch invalid.
            outgoing.use_time_of_sending |= event.timestamp_ms < 0;
            if outgoing.use_time_of_sending {
                event.timestamp_ms = now;
            }
        }
        let mut stats = SendStats::default();
        let first = self.send_ordered(fit, outcomes, &mut stats, until).await;
        let (for_their_time, others): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|(.., rejection)| matches!(rejection, Rejection::Timestamp));
        let now = self.trail.clock.now().to_utc().timestamp_millis();
        let again = for_their_time.into_iter().map(|(mut outgoing, mut event, _)| {
            outcomes[outgoing.index] = DeliveryOutcome::TimestampRejected;
            event.timestamp_ms = now;
            outgoing.use_time_of_sending = true;
            (outgoing, event)
        });
        let again = again.collect();
        let second = self.send_ordered(again, outcomes, &mut stats, until).await;

        for (outgoing, event, rejection) in others.into_iter().chain(second) {
            let reason = match rejection {
                Rejection::Timestamp | Rejection::TimeOfSending => {
                    "CloudWatch Logs refused the event even with the time of sending".to_owned()
                }
                Rejection::Invalid(error) => chain(error.as_ref()),
            };
            if stats.accepted {
                outcomes[outgoing.index] = outgoing.dead(&event, &reason);
            } else {
                tracing::warn!(
                    event_id = %outgoing.event_id.0,
                    reason,
                    "CloudWatch Logs refused an audit event, and accepted no other; it is kept"
                );
                outcomes[outgoing.index] = DeliveryOutcome::Kept;
            }
        }
    }

    /// Sends in the order of time; returns the rejected events.
    async fn send_ordered(
        &self,
        events: Vec<(Outgoing, LogEvent)>,
        outcomes: &mut [DeliveryOutcome],
        stats: &mut SendStats,
        until: Instant,
    ) -> Vec<(Outgoing, LogEvent, Rejection)> {
        let mut send = SendState::new(events);
        let mut queue = batches(&send.events);
        while !queue.is_empty() {
            let range = queue.remove(stats.next(&queue));
            if !self.has_time(until) {
                self.stopped.store(true, Ordering::Relaxed);
                break;
            }
            match self.put(&send.events[range.clone()], until).await {
                Ok(rejected) => {
                    stats.accepted |= rejected.len() < range.len();
                    send.record_response(range, &rejected, outcomes);
                }
                Err(PutError::Invalid(error)) => {
                    stats.refusals += 1;
                    if range.len() == 1 {
                        send.reject(range.start, error);
                    } else {
                        let middle = range.start + range.len() / 2;
                        let at = queue.partition_point(|other| other.start < range.start);
                        queue.splice(at..at, [range.start..middle, middle..range.end]);
                    }
                    if stats.is_log_at_fault() {
                        break;
                    }
                }
                Err(error @ (PutError::Unavailable(_) | PutError::Ambiguous(_))) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    if matches!(error, PutError::Ambiguous(_)) {
                        let indexes = send.outgoing[range.clone()].iter().map(|outgoing| outgoing.index);
                        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).extend(indexes);
                    }
                    tracing::warn!(
                        error = chain(&error),
                        kept = range.len() + queue.iter().map(Range::len).sum::<usize>(),
                        "audit events were not delivered and are kept"
                    );
                    break;
                }
            }
        }
        send.into_rejected()
    }

    /// Makes one call, and remembers how the log responded.
    async fn put(&self, batch: &[LogEvent], until: Instant) -> Result<Vec<usize>, PutError> {
        self.sent.store(true, Ordering::Relaxed);
        let began = Instant::now();
        // Also if this future is dropped before the response.
        let before = std::mem::replace(&mut self.trail.invocation().may_duplicate, true);
        let result = self.trail.log.put(batch, until).await;
        let mut invocation = self.trail.invocation();
        if !matches!(result, Err(PutError::Ambiguous(_))) {
            invocation.may_duplicate = before;
            invocation.slowest = invocation.slowest.max(began.elapsed());
        }
        result
    }

    /// Whether another call may be made: no outcome is unknown, and there is time for a response. A call that is
    /// cut short may have stored its events.
    fn has_time(&self, until: Instant) -> bool {
        !self.trail.may_duplicate() && Instant::now() + self.trail.time_for_an_answer() < until
    }
}

impl AuditTrail {
    pub(super) fn may_duplicate(&self) -> bool {
        self.invocation().may_duplicate
    }

    /// How long a response may take, by those received in this invocation.
    pub(super) fn time_for_an_answer(&self) -> Duration {
        self.invocation().slowest * 3 / 2
    }
}
