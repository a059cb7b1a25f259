//! When events are sent: what an invocation wrote right after its response, and what others left once a minute.

use std::time::{Duration, Instant};

use super::delivery::Sender;
use super::{AuditTrail, DirectEvent};
use crate::domain::audit_event::EventId;
use crate::error::chain;
use crate::ports::outbox::{DeliveryCounts, DeliveryOutcome, Selection};

/// Rows held by one transaction of a delivery, at most, and direct events sent at a time: about a megabyte of events.
const HOLD: u16 = 1_000;

/// With less time than this the sweep begins nothing any more: a call that is cut short may have stored its events, and
/// the next tick would send them again.
const CALL_RESERVE: Duration = Duration::from_secs(1);

/// From this age on a row is the sweep's: whoever wrote it has had its chance.
pub const SWEEP_AGE: Duration = Duration::from_secs(30);

/// So many holds of the outbox, or of direct events, in which CloudWatch Logs accepted nothing, and the delivery ends.
const FRUITLESS_HOLDS: usize = 3;

/// A direct event that may be stored is sent again in each of the next invocations, so often.
const PROMPT_REPEATS: u32 = 2;
/// After that it waits for this long, and for twice as long each time: a log that stores events and is too slow to say so
/// gets few copies.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// How a delivery from the outbox went.
struct DeliveryResult {
    counts: DeliveryCounts,
    /// Whether it ended before everything had been tried.
    stopped: bool,
    /// What is still in the outbox.
    kept: Vec<EventId>,
}

/// Direct events taken out of the queue. Whatever is still here in the end, however that comes about, goes back to its
/// front.
struct Taken<'a> {
    trail: &'a AuditTrail,
    events: Vec<DirectEvent>,
}

impl<'a> Taken<'a> {
    fn nothing(trail: &'a AuditTrail) -> Self {
        Self { trail, events: Vec::new() }
    }

    fn first(trail: &'a AuditTrail, count: usize) -> Self {
        let mut waiting = trail.waiting();
        let count = waiting.direct.len().min(count);
        let events = waiting.direct.drain(..count).collect();
        drop(waiting);
        Self { trail, events }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut waiting = self.trail.waiting();
        for event in self.events.drain(..).rev() {
            waiting.direct.push_front(event);
        }
    }
}

impl AuditTrail {
    /// Sends what this process wrote and has not sent yet, all of it, until `deadline`. What could not be sent from the
    /// outbox is left to the sweep; what has no outbox row is kept for the next flush. Never fails.
    pub async fn flush(&self, deadline: Instant) -> DeliveryCounts {
        // What is in memory only comes first. If the log does not take it, it would not take the others either.
        let (mut total, stopped) = self.flush_direct(deadline).await;
        if stopped {
            return total;
        }
        loop {
            let written: Vec<EventId> = {
                let mut waiting = self.waiting();
                let count = waiting.written.len().min(HOLD.into());
                waiting.written.drain(..count).collect()
            };
            if written.is_empty() {
                return total;
            }
            let delivery = self.deliver(Selection::These(&written), deadline).await;
            let stopped = delivery.as_ref().is_none_or(|delivery| delivery.stopped);
            total.add(delivery.map(|delivery| delivery.counts).unwrap_or_default());
            if stopped {
                // The sweep has them.
                self.waiting().written.clear();
                return total;
            }
        }
    }

    /// Sends events without an outbox row, in order; says too whether that ended early.
    async fn flush_direct(&self, deadline: Instant) -> (DeliveryCounts, bool) {
        let mut total = DeliveryCounts::default();
        // Not now; the others do not wait for these. Returned to the queue after `batch`, and so before it.
        let mut later = Taken::nothing(self);
        let mut fruitless = 0;
        loop {
            let mut batch = Taken::first(self, HOLD.into());
            if batch.events.is_empty() {
                return (total, false);
            }
            let now = Instant::now();
            later.events.extend(batch.events.extract_if(.., |direct| direct.not_before > Some(now)));
            let sender = Sender::new(self);
            let outcomes = sender.send_direct(&batch.events, deadline).await;
            for index in sender.unanswered() {
                batch.events[index].unanswered();
            }
            fruitless += usize::from(outcomes.contains(&DeliveryOutcome::Kept));
            let mut outcomes = outcomes.into_iter();
            total.held += batch.events.len();
            batch.events.retain_mut(|direct| match outcomes.next() {
                Some(DeliveryOutcome::Delivered) => {
                    total.delivered += 1;
                    false
                }
                // It was logged in full.
                Some(DeliveryOutcome::Dead(_)) => {
                    total.dead += 1;
                    false
                }
                Some(DeliveryOutcome::Refused) => {
                    direct.refused_before = true;
                    true
                }
                Some(DeliveryOutcome::Kept) | None => true,
            });
            if sender.stopped() || fruitless == FRUITLESS_HOLDS {
                return (total, true);
            }
            // CloudWatch Logs refused what is still here, and accepted nothing else.
            later.events.append(&mut batch.events);
        }
    }

    /// Sends what others left in the outbox, oldest first, until nothing is left or `deadline`. Never fails.
    pub async fn sweep(&self, deadline: Instant) -> DeliveryCounts {
        let mut total = DeliveryCounts::default();
        // What CloudWatch Logs refused, without accepting anything else, does not keep the others from being sent.
        let mut except = Vec::new();
        let mut fruitless = 0;
        while !self.is_silent() && Instant::now() + CALL_RESERVE.max(self.time_for_an_answer()) < deadline {
            let which = Selection::OlderThan { age: SWEEP_AGE, limit: HOLD, except: &except };
            let Some(DeliveryResult { counts, stopped, kept }) = self.deliver(which, deadline).await else {
                break;
            };
            total.add(counts);
            if counts.delivered + counts.dead == 0 {
                fruitless += 1;
                if stopped || fruitless == FRUITLESS_HOLDS {
                    break;
                }
            }
            if !stopped {
                if counts.held < usize::from(HOLD) {
                    break;
                }
                except.extend(kept);
            }
        }
        total
    }

    async fn deliver(&self, which: Selection<'_>, deadline: Instant) -> Option<DeliveryResult> {
        let sender = Sender::new(self);
        match self.outbox.deliver(which, &sender, deadline).await {
            Ok(counts) => Some(DeliveryResult { counts, stopped: sender.stopped(), kept: sender.kept() }),
            Err(error) => {
                if sender.sent() {
                    // Some are stored, and their rows are still there.
                    self.invocation().silent = true;
                }
                tracing::warn!(
                    error = chain(&error),
                    "audit events were not delivered and stay in the outbox"
                );
                None
            }
        }
    }
}

impl DirectEvent {
    /// It was sent and may be stored.
    fn unanswered(&mut self) {
        self.unanswered += 1;
        let times = self.unanswered.saturating_sub(PROMPT_REPEATS);
        self.not_before = (times > 0)
            .then(|| Instant::now() + REPEAT_AFTER.saturating_mul(2_u32.saturating_pow(times.min(10) - 1)));
    }
}

impl DeliveryCounts {
    fn add(&mut self, other: Self) {
        self.held += other.held;
        self.delivered += other.delivered;
        self.dead += other.dead;
    }
}
