//! The delivery of an invocation's own events, right after its response.

use std::time::{Duration, Instant};

use super::delivery::Sender;
use super::render::log_event;
use super::sweep::{MAX_FRUITLESS_ROUNDS, MAX_ROWS_PER_DELIVERY};
use super::{AuditTrail, DirectEvent, StoredEvent};
use crate::domain::audit_event::EventId;
use crate::error::chain;
use crate::ports::outbox::{DeliveryCounts, DeliveryOutcome};

/// Stored events that were queued longer ago than this are left to the sweep, which may have delivered them: the
/// environment was frozen meanwhile.
const OWN_AGE: Duration = Duration::from_secs(20);

/// Of the time for a delivery, reserved for storing its outcome: at most this, and at most a quarter.
const SETTLE_RESERVE: Duration = Duration::from_millis(300);

/// A direct event that may be stored is sent again in each of this many next invocations.
const PROMPT_REPEATS: u32 = 2;
/// After that it waits this long, doubled each time: a log that stores events and responds too late gets few copies.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Direct events taken out of the queue. On drop, the remaining ones return to its front.
struct Taken<'a> {
    trail: &'a AuditTrail,
    events: Vec<DirectEvent>,
}

impl<'a> Taken<'a> {
    fn nothing(trail: &'a AuditTrail) -> Self {
        Self { trail, events: Vec::new() }
    }

    fn first(trail: &'a AuditTrail, count: usize) -> Self {
        let mut queue = trail.queue();
        let count = queue.direct.len().min(count);
        let events = queue.direct.drain(..count).collect();
        drop(queue);
        Self { trail, events }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut queue = self.trail.queue();
        for event in self.events.drain(..).rev() {
            queue.direct.push_front(event);
        }
    }
}

impl AuditTrail {
    /// Sends every event that this process has queued, until `deadline`. Stored events that could not be sent are left
    /// to the sweep; direct events are kept for the next flush. Never fails.
    pub async fn flush(&self, deadline: Instant) -> DeliveryCounts {
        // Direct events first, because they are in memory only. A log that does not accept them accepts no others either.
        let (mut total, stopped) = self.flush_direct(deadline).await;
        // Whatever becomes of these, the sweep delivers what is left of them.
        let stored: Vec<StoredEvent> = self.queue().stored.drain(..).collect();
        if !stopped {
            total.add(self.flush_stored(stored, deadline).await);
        }
        total
    }

    /// Sends events from memory, and stores their outcomes. Nothing holds their rows, so two may send one of them; but the
    /// sweep leaves young rows alone.
    async fn flush_stored(&self, mut stored: Vec<StoredEvent>, deadline: Instant) -> DeliveryCounts {
        let now = self.clock.now();
        stored.retain(|event| now.since(event.queued_at).to_std().unwrap_or_default() < OWN_AGE);
        if stored.is_empty() {
            return DeliveryCounts::default();
        }
        let ids: Vec<EventId> = stored.iter().map(|stored| stored.event.event_id).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let until = deadline - SETTLE_RESERVE.min(left / 4);
        let events = stored.iter().map(|StoredEvent { event, .. }| (event.event_id, false, log_event(event)));
        let outcomes = Sender::new(self).send_queued(events, until).await;
        let counts = DeliveryCounts::of(&outcomes);
        let outcomes: Vec<_> =
            ids.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome != DeliveryOutcome::Kept).collect();
        if !outcomes.is_empty()
            && let Err(error) = self.outbox.settle(&outcomes, deadline).await
        {
            tracing::warn!(
                error = chain(&error),
                "audit events that were sent stay in the outbox, and may be sent again"
            );
        }
        counts
    }

    /// Sends direct events, in order; also returns whether that ended early.
    async fn flush_direct(&self, deadline: Instant) -> (DeliveryCounts, bool) {
        let mut total = DeliveryCounts::default();
        // Not due yet. Dropped after `batch`, so they return to the queue in front of it.
        let mut later = Taken::nothing(self);
        let mut fruitless = 0;
        loop {
            let mut batch = Taken::first(self, MAX_ROWS_PER_DELIVERY.into());
            if batch.events.is_empty() {
                return (total, false);
            }
            let now = Instant::now();
            later.events.extend(batch.events.extract_if(.., |direct| direct.not_before > Some(now)));
            let sender = Sender::new(self);
            let events = batch.events.iter();
            let events = events.map(|it| (it.event_id, it.use_time_of_sending, it.event.clone()));
            let outcomes = sender.send_queued(events, deadline).await;
            for index in sender.unanswered() {
                batch.events[index].unanswered();
            }
            fruitless += usize::from(outcomes.contains(&DeliveryOutcome::Kept));
            let mut outcomes = outcomes.into_iter();
            total.held += batch.events.len();
            batch.events.retain_mut(|direct| match outcomes.next() {
                Some(DeliveryOutcome::Delivered | DeliveryOutcome::DeliveredBefore) => {
                    total.delivered += 1;
                    false
                }
                // It was logged in full.
                Some(DeliveryOutcome::Dead(_)) => {
                    total.dead += 1;
                    false
                }
                Some(DeliveryOutcome::TimestampRejected) => {
                    direct.use_time_of_sending = true;
                    true
                }
                Some(DeliveryOutcome::Kept) | None => true,
            });
            if sender.stopped() || fruitless == MAX_FRUITLESS_ROUNDS {
                return (total, true);
            }
            // CloudWatch Logs rejected the remaining events, and accepted no others.
            later.events.append(&mut batch.events);
        }
    }
}

impl DirectEvent {
    /// Records a send without a response.
    fn unanswered(&mut self) {
        self.unanswered += 1;
        let times = self.unanswered.saturating_sub(PROMPT_REPEATS);
        self.not_before = (times > 0)
            .then(|| Instant::now() + REPEAT_AFTER.saturating_mul(2_u32.saturating_pow(times.min(10) - 1)));
    }
}
