//! The delivery of events from the outbox, once a minute: the processor's own, and those that other functions have not delivered.

use std::time::{Duration, Instant};

use super::AuditTrail;
use super::delivery::{Rows, Sender};
use crate::domain::audit_event::EventId;
use crate::error::chain;
use crate::ports::outbox::{Delivery, DeliveryCounts, DeliveryError, Selection};
use crate::ports::store_error::StoreError;

/// Most rows locked by one delivery, and direct events sent at a time: about a megabyte of events.
pub(super) const MAX_ROWS_PER_DELIVERY: u16 = 1_000;

/// Rows that cannot be deleted together are tried in deliveries that are smaller by this factor, until the one at fault is found:
/// few attempts, because each may take long.
const SHRINK_FACTOR: u16 = 10;
/// After each success they grow again.
const GROWTH_FACTOR: u16 = 2;

/// Time for rows that could not be deleted before, and how many of them are tried together.
const RETRY_TIME: Duration = Duration::from_secs(5);
const RETRY_ROWS: usize = 100;

/// With less time left, the sweep starts no call: one that is cut short may have stored its events, and the next tick
/// would send them again.
const CALL_RESERVE: Duration = Duration::from_secs(1);

/// The sweep delivers rows of at least this age: their writer has had its chance.
pub const SWEEP_AGE: Duration = Duration::from_secs(30);

/// A delivery ends after this many rounds in which CloudWatch Logs accepted nothing.
pub(super) const MAX_FRUITLESS_ROUNDS: usize = 3;

impl AuditTrail {
    /// Sends undelivered events, oldest first, until none is left or `deadline`: the processor's own, and those that other
    /// functions have not delivered. Those whose rows could not be deleted in earlier invocations come last, some at a time
    /// and for a short time. Never fails.
    pub async fn sweep(&self, deadline: Instant) -> DeliveryCounts {
        let mut total = DeliveryCounts::default();
        let mut undeletable = Undeletable::default();
        let mut earlier = self.undeletable().len();
        let mut is_complete = self.deliver_all(deadline, &mut total, &mut undeletable).await;
        let until = deadline.min(Instant::now() + RETRY_TIME);
        while is_complete && earlier > 0 && Instant::now() < until {
            let again = earlier.min(RETRY_ROWS);
            earlier -= again;
            // What cannot be deleted this time either comes back, behind all others.
            self.undeletable().drain(..again);
            is_complete = self.deliver_all(until, &mut total, &mut undeletable).await;
        }
        undeletable.log(earlier + self.invocation().undeletable.len());
        total
    }

    /// Sends all but what is remembered as undeletable. Returns whether everything has been tried.
    async fn deliver_all(
        &self,
        deadline: Instant,
        total: &mut DeliveryCounts,
        undeletable: &mut Undeletable,
    ) -> bool {
        // Events that CloudWatch Logs rejected without accepting any others must not block the rest.
        let mut kept = Vec::new();
        let mut fruitless = 0;
        while !self.may_duplicate() && Instant::now() + CALL_RESERVE.max(self.time_for_an_answer()) < deadline
        {
            undeletable.together = None;
            let limit = self.invocation().limit.unwrap_or(MAX_ROWS_PER_DELIVERY);
            let except = [kept.as_slice(), &self.left()].concat();
            let which = Selection { age: SWEEP_AGE, limit, except: &except };
            let sender = Sender::new(self);
            let Delivery { counts, unsettled } = match self.outbox.deliver(which, &sender, deadline).await {
                Ok(delivery) => delivery,
                Err(error) if error.undeletable.is_empty() => {
                    self.broken_off(&error.error, sender.sent());
                    return false;
                }
                Err(error) => {
                    self.leave_or_divide(&error.undeletable);
                    undeletable.add(error);
                    continue;
                }
            };
            total.add(counts);
            let (stopped, rows) = (sender.stopped(), sender.rows());
            self.settled(&rows, unsettled);
            if rows.kept.len() == counts.held {
                fruitless += 1;
                if stopped || fruitless == MAX_FRUITLESS_ROUNDS {
                    return false;
                }
            }
            if !stopped {
                if counts.held < usize::from(limit) {
                    return true;
                }
                kept.extend(rows.kept);
            }
        }
        false
    }

    /// Rows that a delivery leaves alone.
    fn left(&self) -> Vec<EventId> {
        let invocation = self.invocation();
        let mut left = [invocation.finished.as_slice(), &invocation.undeletable].concat();
        drop(invocation);
        left.extend(self.undeletable().iter());
        left
    }

    /// Later deliveries of this invocation leave a single row alone, and take fewer rows at a time after several.
    fn leave_or_divide(&self, undeletable: &[EventId]) {
        let mut invocation = self.invocation();
        match undeletable {
            [row] => invocation.undeletable.push(*row),
            rows => {
                let rows = u16::try_from(rows.len()).unwrap_or(MAX_ROWS_PER_DELIVERY);
                invocation.limit = Some((rows / SHRINK_FACTOR).max(1));
            }
        }
    }

    /// Later deliveries of this invocation leave alone what has nothing more to be sent, and take more rows at a time again.
    fn settled(&self, rows: &Rows, unsettled: Option<StoreError>) {
        let mut invocation = self.invocation();
        invocation.finished.extend(rows.dead.iter().chain(&rows.repeated));
        if !rows.repeated.is_empty() {
            tracing::warn!(
                events = rows.repeated.len(),
                "audit events that were delivered before were still in the outbox; their rows are deleted again"
            );
        }
        if let Some(error) = unsettled {
            invocation.finished.extend_from_slice(&rows.delivered);
            tracing::warn!(
                error = chain(&error),
                "the outcomes of audit events that were sent could not be stored"
            );
        }
        let limit = invocation.limit.map(|limit| limit.saturating_mul(GROWTH_FACTOR));
        invocation.limit = limit.filter(|limit| *limit < MAX_ROWS_PER_DELIVERY);
    }

    fn broken_off(&self, error: &StoreError, sent: bool) {
        let error = chain(error);
        if sent {
            // Some events are stored, but their rows still exist.
            self.invocation().may_duplicate = true;
            tracing::warn!(error, "audit events that were sent stay in the outbox, and may be sent again");
        } else {
            tracing::warn!(error, "audit events were not delivered and stay in the outbox");
        }
    }
}

/// Why a sweep could not delete rows.
#[derive(Default)]
struct Undeletable {
    /// The first single row.
    first: Option<(EventId, StoreError)>,
    /// The error of the last delivery, if it had several rows.
    together: Option<StoreError>,
}

impl Undeletable {
    fn add(&mut self, DeliveryError { error, undeletable }: DeliveryError) {
        if let [row] = undeletable.as_slice() {
            self.first.get_or_insert((*row, error));
        } else {
            self.together = Some(error);
        }
    }

    fn log(self, events: usize) {
        if let Some((event_id, error)) = self.first {
            tracing::warn!(
                error = chain(&error),
                event_id = %event_id.0,
                events,
                "audit events were not delivered, because their rows cannot be deleted; one is named"
            );
        } else if let Some(error) = self.together {
            tracing::warn!(
                error = chain(&error),
                "audit events were not delivered: their rows could not be deleted, and there was no time left to find the cause"
            );
        }
    }
}

impl DeliveryCounts {
    pub(super) fn add(&mut self, other: Self) {
        self.held += other.held;
        self.delivered += other.delivered;
        self.dead += other.dead;
    }
}
