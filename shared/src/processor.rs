//! One tick: apply what is due, then send audit events that stayed behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::audit::AuditTrail;
use crate::domain::apply::{self, Outcome};
use crate::domain::audit_event::{EventContext, EventType};
use crate::domain::delivery::{AuditBacklog, Carried};
use crate::domain::schedule::Status;
use crate::domain::step::{Batch, Progress, StillDue};
use crate::error::{StoreError, chain};
use crate::ports::{AuditOutbox, ScheduleStore};

/// Left of an invocation's time for what follows the work: delivering events, counting what is left, answering.
pub const RESERVE: Duration = Duration::from_secs(5);
/// Left of an invocation's time for answering.
const ANSWER_RESERVE: Duration = Duration::from_millis(500);

/// Applies what is due.
pub struct Processor {
    store: Arc<dyn ScheduleStore>,
    outbox: Arc<dyn AuditOutbox>,
    audit: Arc<AuditTrail>,
}

/// What a tick did: the invocation's result, and its metrics.
#[derive(Debug, Default, Serialize)]
pub struct TickReport {
    /// Schedules that were applied.
    pub applied: u64,
    /// Schedules that failed as `invalid_updates`.
    pub failed_invalid_updates: u64,
    /// Schedules that failed as `expired`.
    pub failed_expired: u64,
    /// Schedules that failed as `rejected_by_database`.
    pub failed_rejected_by_database: u64,
    /// Schedules still due at the end; `null` when it could not be counted.
    pub still_due: Option<u64>,
    /// For how long the oldest of them has been due, in milliseconds.
    pub oldest_due_age_ms: Option<u64>,
    /// Audit events delivered in this tick.
    pub audit_delivered: u64,
    /// Audit events not delivered yet; `null` when it could not be counted.
    pub audit_backlog: Option<u64>,
    /// The age of the oldest of them, in milliseconds.
    pub oldest_audit_event_age_ms: Option<u64>,
    /// Audit events that can never be delivered.
    pub audit_dead: Option<u64>,
    /// Flags that an error kept it from working on; what is due of them is the next tick's.
    pub flags_left: u64,
    /// Whether an error ended the work early; what it left is the next tick's.
    pub interrupted: bool,
    /// How long applying took, in milliseconds; the rest is delivering events and counting what is left.
    pub applying_ms: u64,
    /// How long the tick took, in milliseconds.
    pub duration_ms: u64,
}

impl Processor {
    /// A processor over these ports.
    #[must_use]
    pub fn new(store: Arc<dyn ScheduleStore>, outbox: Arc<dyn AuditOutbox>, audit: Arc<AuditTrail>) -> Self {
        Self { store, outbox, audit }
    }

    /// Works until nothing is due or the time is used up: the invocation ends at `deadline`.
    ///
    /// # Errors
    /// The store's, when it kept the tick from doing anything at all.
    pub async fn tick(&self, request_id: &str, deadline: Instant) -> Result<TickReport, StoreError> {
        let started = Instant::now();
        self.audit.begin_invocation();
        let mut report = TickReport::default();
        let context = EventContext::of_processor(request_id);
        let worked = self.apply_all(&context, deadline, &mut report).await;
        report.applying_ms = millis(started.elapsed());

        let delivery_deadline = before(deadline, ANSWER_RESERVE * 2);
        let carried = [self.audit.flush(delivery_deadline).await, self.audit.sweep(delivery_deadline).await];
        report.audit_delivered = carried.iter().map(|Carried { delivered, .. }| count(*delivered)).sum();

        if let Err(error) = worked {
            if report.ended() == 0 {
                return Err(error);
            }
            tracing::error!(
                error = chain(&error),
                "the tick was interrupted; the rest is left to the next one"
            );
            report.interrupted = true;
        }
        let looking = self.look_around(&mut report);
        if tokio::time::timeout_at(before(deadline, ANSWER_RESERVE).into(), looking).await.is_err() {
            tracing::error!("there was no time left to count what is left");
        }
        report.duration_ms = millis(started.elapsed());
        Ok(report)
    }

    /// Passes over all that is due, oldest first, until a pass ends nothing any more.
    async fn apply_all(
        &self,
        context: &EventContext,
        deadline: Instant,
        report: &mut TickReport,
    ) -> Result<(), StoreError> {
        let mut progress = Progress::default();
        let mut first_error = None;
        let mut ended_in_pass = 0;
        while Instant::now() < before(deadline, RESERVE) {
            // A batch that has begun may use some of the reserve, rather than be rolled back.
            let batch_end = before(deadline, RESERVE / 2);
            let mut batch = self.store.apply_due(&mut progress, context, &apply::decide, batch_end).await?;
            ended_in_pass += batch.ended.len();
            for (flag, error) in batch.left.drain(..) {
                tracing::error!(flag_id = %flag.0, error = chain(&*error), "a flag is left to the next tick");
                report.flags_left += 1;
                first_error.get_or_insert(error);
            }
            self.take_note(batch, context, report);
            if progress.after.is_none() {
                if ended_in_pass == 0 {
                    break;
                }
                ended_in_pass = 0;
            }
        }
        match first_error {
            Some(error) if report.ended() == 0 => Err(StoreError::Refused(error)),
            _ => Ok(()),
        }
    }

    /// Counts what a batch did, and tells the audit trail where its events are.
    fn take_note(&self, batch: Batch, context: &EventContext, report: &mut TickReport) {
        for ended in &batch.ended {
            report.count(&ended.outcome);
            if batch.without_outbox.is_none() {
                self.audit.written(ended.event_id);
            }
        }
        let Some((reason, schedules)) = batch.without_outbox else { return };
        let ended: HashMap<_, _> = batch.ended.iter().map(|ended| (ended.id, ended)).collect();
        for schedule in schedules {
            let Some(ended) = ended.get(&schedule.id) else { continue };
            let event_type =
                if schedule.status == Status::Applied { EventType::Applied } else { EventType::Failed };
            let change = match &ended.outcome {
                Outcome::Applied(change) => Some(*change),
                Outcome::Failed(_) => None,
            };
            let context = EventContext { change, ..context.clone() };
            self.audit.without_outbox(ended.event_id, event_type, context, &schedule, &reason);
        }
    }

    /// Counts what is left. That it cannot be counted is no reason to fail a tick that did its work.
    async fn look_around(&self, report: &mut TickReport) {
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

impl TickReport {
    fn ended(&self) -> u64 {
        self.applied + self.failed()
    }

    /// Schedules that failed, for whatever reason.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_invalid_updates + self.failed_expired + self.failed_rejected_by_database
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Applied(_) => self.applied += 1,
            Outcome::Failed(apply::Failure::InvalidUpdates(_)) => self.failed_invalid_updates += 1,
            Outcome::Failed(apply::Failure::Expired { .. }) => self.failed_expired += 1,
            Outcome::Failed(apply::Failure::RejectedByDatabase(_)) => self.failed_rejected_by_database += 1,
        }
    }
}

fn before(deadline: Instant, reserve: Duration) -> Instant {
    deadline.checked_sub(reserve).unwrap_or(deadline)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
