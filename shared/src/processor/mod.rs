//! One tick: applies due schedules and delivers audit events, and waits for what comes due before the next one.

mod batches;
mod report;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use report::{Lateness, TickError, TickReport, trigger_delay_ms};
pub use watch::{WATCH_TIME, Watch};

use crate::audit::AuditTrail;
use crate::domain::audit_event::EventContext;
use crate::error::chain;
use crate::ports::due::{Batch, DueStore, StillDue};
use crate::ports::outbox::{AuditBacklog, AuditOutbox};
use batches::Batches;
use report::millis;
use watch::Waiting;

/// Reserved at the end of an invocation for delivering events, counting the backlog and responding.
pub const RESERVE: Duration = Duration::from_secs(5);
/// A round that begins when the waiting ends has at least this long.
const LAST_ROUND: Duration = Duration::from_secs(1);
/// Reserved at the end of an invocation for responding.
const RESPONSE_RESERVE: Duration = Duration::from_millis(500);

/// A tick that could do nothing waits at most this long for others to release their locks.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to lock what others hold.
const LOCK_PAUSE: Duration = Duration::from_millis(200);
/// Limit for sending events that the outbox could not take, between two batches.
const DIRECT_LIMIT: Duration = Duration::from_secs(2);
/// Delivering between two rounds must not make a change late: with less time than this until the next one, events wait, because
/// after a call that was cut short none is sent again in this tick.
const TIME_TO_FLUSH: Duration = Duration::from_secs(1);
/// And it takes no longer than this, because a tick that waits for an answer looks for nothing new.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Applies due schedules.
pub struct Processor {
    store: Arc<dyn DueStore>,
    outbox: Arc<dyn AuditOutbox>,
    audit: Arc<AuditTrail>,
    watch: Watch,
    patience: Duration,
}

impl Processor {
    #[must_use]
    pub fn new(
        store: Arc<dyn DueStore>,
        outbox: Arc<dyn AuditOutbox>,
        audit: Arc<AuditTrail>,
        watch: Watch,
    ) -> Self {
        Self { store, outbox, audit, watch, patience: PATIENCE }
    }

    /// Works until nothing is due and nothing planned, or the time is up; the invocation ends at `deadline`.
    ///
    /// # Errors
    /// [`TickError`] when the tick could do nothing at all.
    pub async fn tick(&self, request_id: &str, deadline: Instant) -> Result<TickReport, TickError> {
        let started = Instant::now();
        self.audit.begin_invocation();
        let mut report = TickReport::default();
        let context = EventContext::of_processor(request_id);
        // A batch in progress may use half of the reserve rather than be rolled back.
        let batch_end = before(deadline, RESERVE / 2);
        let mut batches = Batches::new(Arc::clone(&self.store), &context, &*self.audit, batch_end);
        let mut waiting = Waiting::new(self.watch, before(deadline, RESERVE + LAST_ROUND));
        let mut ended_before_delivery = 0;
        // Each round tries everything that is due, so the last one says what is left.
        let worked = loop {
            let began = Instant::now();
            let worked = self.apply_all(&mut batches, deadline, &mut report).await;
            report.applying_ms += millis(began.elapsed());
            let Some(pause) = waiting.next(&*self.store, batches.pass_began).await else { break worked };
            if let Err(error) = worked {
                tracing::warn!(error = chain(&error), "a round of the tick failed; another one follows");
            }
            let now = Instant::now();
            if report.ended() > ended_before_delivery
                && pause.free_until.saturating_duration_since(now) >= TIME_TO_FLUSH
            {
                ended_before_delivery = report.ended();
                self.deliver(pause.free_until.min(now + FLUSH_LIMIT), &mut report).await;
            }
            let began = Instant::now();
            tokio::time::sleep_until(pause.until.into()).await;
            report.waiting_ms += millis(began.elapsed());
        };

        self.deliver(before(deadline, RESPONSE_RESERVE * 2), &mut report).await;

        let worked = match batches.first_error.take() {
            Some(error) if report.ended() == 0 => Err(TickError::Store(error)),
            _ => worked,
        };
        let out_of_time = match worked {
            Ok(()) => None,
            Err(error @ TickError::OutOfTime) => Some(error),
            Err(error) if report.ended() == 0 => return Err(error),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "the tick was interrupted; the rest is left to the next one"
                );
                report.interrupted = true;
                None
            }
        };
        let measuring = self.measure_backlog(&mut report);
        if tokio::time::timeout_at(before(deadline, RESPONSE_RESERVE).into(), measuring).await.is_err() {
            tracing::error!("there was no time left to count what is left");
        }
        // A tick with nothing to do succeeds anyway.
        if let Some(error) = out_of_time
            && report.still_due != Some(0)
        {
            return Err(error);
        }
        report.duration_ms = millis(started.elapsed());
        Ok(report)
    }

    /// Makes passes over everything due, oldest first, until a pass neither applies nor fails a schedule.
    async fn apply_all(
        &self,
        batches: &mut Batches<'_>,
        deadline: Instant,
        report: &mut TickReport,
    ) -> Result<(), TickError> {
        batches.start_over();
        let patience_ends = Instant::now() + self.patience;
        let mut ended_before_pass = report.ended();
        let is_out_of_time = loop {
            if Instant::now() >= before(deadline, RESERVE) {
                break true;
            }
            if batches.is_at_pass_start() {
                report.flags_locked = 0;
            }
            let next = batches.next().await;
            report.flags_left = batches.request.skip.len() as u64;
            let Some(batch) = next? else { continue };
            report.flags_locked += batch.flags_locked;
            self.record_batch(batch, report).await;
            if !batches.is_at_pass_start() {
                continue;
            }
            if report.ended() > ended_before_pass {
                ended_before_pass = report.ended();
                continue;
            }
            if !self.should_wait_for_locks(batches, report, patience_ends).await? {
                break false;
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        };
        if is_out_of_time && report.ended() == 0 { Err(TickError::OutOfTime) } else { Ok(()) }
    }

    /// Whether to make another pass although the last one applied or failed nothing.
    async fn should_wait_for_locks(
        &self,
        batches: &Batches<'_>,
        report: &TickReport,
        patience_ends: Instant,
    ) -> Result<bool, TickError> {
        if report.flags_locked == 0 {
            return Ok(false);
        }
        // The server releases the locks of an abandoned connection in a moment.
        if batches.given_up.is_some_and(|since| since.elapsed() < self.patience) {
            return Ok(true);
        }
        let is_idle = report.ended() == 0 && batches.first_error.is_none();
        // If another tick holds the locks, the work is being done.
        if !is_idle || self.store.is_another_tick_working(batches.request.tick).await? {
            return Ok(false);
        }
        if Instant::now() > patience_ends {
            return Err(TickError::AllLocked { flags: report.flags_locked });
        }
        Ok(true)
    }

    /// Adds a batch to the report. Events without an outbox row are sent at once.
    async fn record_batch(&self, batch: Batch, report: &mut TickReport) {
        batch.ended.iter().for_each(|ended| report.count(ended));
        if !batch.direct_events.is_empty() {
            self.audit.enqueue_direct_events(batch.direct_events);
            report.count_delivered(self.audit.flush(Instant::now() + DIRECT_LIMIT).await);
        }
    }

    /// Delivers this tick's events, and what other functions left.
    async fn deliver(&self, until: Instant, report: &mut TickReport) {
        report.count_delivered(self.audit.flush(until).await);
        report.count_delivered(self.audit.sweep(until).await);
    }

    /// Counts what is left. A failure to count does not fail a tick that did its work.
    async fn measure_backlog(&self, report: &mut TickReport) {
        match self.store.still_due().await {
            Ok(StillDue { count, oldest_age }) => {
                report.still_due = Some(count);
                report.oldest_due_age_ms = Some(millis(oldest_age));
            }
            Err(error) => tracing::error!(error = chain(&error), "what is still due could not be counted"),
        }
        match self.outbox.backlog().await {
            Ok(AuditBacklog { count, oldest_age, dead }) => {
                report.audit_backlog = Some(count);
                report.oldest_audit_event_age_ms = Some(millis(oldest_age));
                report.audit_dead = Some(dead);
            }
            Err(error) => tracing::error!(error = chain(&error), "the audit backlog could not be counted"),
        }
    }
}

fn before(deadline: Instant, reserve: Duration) -> Instant {
    deadline.checked_sub(reserve).unwrap_or(deadline)
}
