//! When events are sent: what an invocation wrote right after its response, and what stayed behind once a minute.

use std::time::{Duration, Instant};

use super::AuditTrail;
use super::delivery::Carrier;
use crate::domain::delivery::{Carried, Selection};
use crate::error::chain;

/// Rows held by one transaction of a delivery, at most: about a megabyte of events.
const HOLD: u16 = 1_000;

/// A transaction of a delivery begins no further call after this time: what has been delivered must be stored before
/// the server ends it for being idle (`idle_in_transaction_session_timeout`, 10 s as a role default), or all of it
/// would be sent again.
const HOLD_LIMIT: Duration = Duration::from_secs(4);

/// With less time than this the sweep begins nothing any more: a call that is cut short may have stored its events, and
/// the next tick would send them again.
const CALL_RESERVE: Duration = Duration::from_secs(1);

/// From this age on a row is the sweep's: whoever wrote it has had its chance.
pub const SWEEP_AGE: Duration = Duration::from_secs(30);

impl AuditTrail {
    /// Sends what this process wrote and has not sent yet, all of it, until `deadline`. What could not be sent from the
    /// outbox is left to the sweep; what has no outbox row is kept for the next flush. Never fails.
    pub async fn flush(&self, deadline: Instant) -> Carried {
        let mut total = Carried::default();
        loop {
            let direct = std::mem::take(&mut self.waiting().direct);
            if !direct.is_empty() {
                let again = Carrier { trail: self, deadline, enough: deadline }.carry_direct(direct).await;
                let failed = !again.is_empty();
                self.waiting().direct.extend(again);
                if failed {
                    // The audit log does not take events now: the rows of the outbox would fare no better.
                    self.waiting().written.clear();
                    return total;
                }
            }
            let mut written = std::mem::take(&mut self.waiting().written);
            if written.is_empty() {
                return total;
            }
            let later = written.split_off(written.len().min(HOLD.into()));
            self.waiting().written.extend(later);
            match self.deliver(Selection::These(&written), deadline).await {
                Some(carried) if carried.delivered + carried.dead == carried.held => total.add(carried),
                Some(carried) => {
                    total.add(carried);
                    self.waiting().written.clear();
                }
                None => self.waiting().written.clear(),
            }
        }
    }

    /// Sends what stayed behind, oldest first, until nothing is left or `deadline`. Never fails.
    pub async fn sweep(&self, deadline: Instant) -> Carried {
        let mut total = Carried::default();
        while Instant::now() + CALL_RESERVE < deadline {
            let which = Selection::OlderThan { age: SWEEP_AGE, limit: HOLD };
            let Some(carried) = self.deliver(which, deadline).await else { break };
            total.add(carried);
            let gone = carried.delivered + carried.dead;
            // Nothing that could be sent now, or nothing left.
            if gone == 0 || (gone == carried.held && carried.held < usize::from(HOLD)) {
                break;
            }
        }
        total
    }

    async fn deliver(&self, which: Selection<'_>, deadline: Instant) -> Option<Carried> {
        let now = Instant::now();
        let reserved = deadline.checked_sub(CALL_RESERVE).unwrap_or(now);
        let carrier = Carrier { trail: self, deadline, enough: reserved.min(now + HOLD_LIMIT) };
        match self.outbox.deliver(which, &carrier, deadline).await {
            Ok(carried) => Some(carried),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "audit events were not delivered and stay in the outbox"
                );
                None
            }
        }
    }
}

impl Carried {
    fn add(&mut self, other: Self) {
        self.held += other.held;
        self.delivered += other.delivered;
        self.dead += other.dead;
    }
}
