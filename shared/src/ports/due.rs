//! What the processor needs of the store: batches of due schedules, applied one transaction at a time.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::outbox::FallbackLog;
use super::store_error::{Fault, StoreError};
use crate::domain::apply::Outcome;
use crate::domain::audit_event::{AuditEvent, EventContext, EventId};
use crate::domain::flag::FlagId;
use crate::domain::schedule::ScheduleId;
use crate::domain::time::StoredMicros;

#[async_trait]
pub trait DueStore: Send + Sync {
    /// Claims flags with due schedules, [decides](crate::domain::apply::decide) the outcomes, and stores flags, schedules
    /// and events in one transaction. Never waits for a lock on a flag or a schedule: locked flags are skipped and counted.
    async fn apply_batch(
        &self,
        request: &BatchRequest<'_>,
        fallback_log: &dyn FallbackLog,
    ) -> Result<Batch, BatchFailure>;

    /// Stores an empty batch, with or without the outbox: an error is not about any schedule.
    async fn check(&self, bypass_outbox: bool, deadline: Instant) -> Result<(), StoreError>;

    async fn next_due(&self) -> Result<NextDue, StoreError>;

    /// Whether another tick is processing a batch right now, and may hold the locks that this one needs.
    async fn is_another_tick_working(&self, tick: i32) -> Result<bool, StoreError>;

    async fn still_due(&self) -> Result<StillDue, StoreError>;
}

/// Pending schedules around this moment, by the database's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextDue {
    /// How long it takes until the next one comes due.
    pub until_next: Option<Duration>,
    /// How long ago the last of those that are due came due.
    pub since_last: Option<Duration>,
}

/// A position in the order in which due schedules are claimed. Rows without a `created_at` come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePosition {
    pub scheduled_at: StoredMicros,
    pub created_at: StoredMicros,
    pub id: ScheduleId,
}

#[derive(Debug, Clone)]
pub struct BatchRequest<'a> {
    /// Identifies the tick among concurrent ones; never negative.
    pub tick: i32,
    pub context: &'a EventContext,
    /// Only schedules after this position.
    pub after: Option<DuePosition>,
    /// Maximum number of schedules.
    pub limit: u16,
    pub skip: Vec<FlagId>,
    /// Why events bypass the outbox; then they are logged in full, and returned to be sent directly.
    pub bypass_outbox: Option<String>,
    /// A schedule to fail, and the database's reason for rejecting it before. The other schedules of its flag wait.
    pub reject: Option<(ScheduleId, String)>,
    pub deadline: Instant,
}

/// A committed batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// `None` when nothing due lies beyond.
    pub reached: Option<DuePosition>,
    pub ended: Vec<Ended>,
    /// The events that bypassed the outbox.
    pub direct_events: Vec<AuditEvent>,
    /// Flags skipped because they, or due schedules of theirs, are locked by others.
    pub flags_locked: u64,
}

/// A schedule that was applied or failed.
#[derive(Debug)]
pub struct Ended {
    pub id: ScheduleId,
    pub flag_id: FlagId,
    pub event_id: EventId,
    pub outcome: Outcome,
    /// Delay after `scheduled_at`, by the database's clock.
    pub lateness: Duration,
}

/// Why nothing of a batch was stored.
#[derive(Debug)]
pub struct BatchFailure {
    pub error: StoreError,
    pub fault: Fault,
    /// `None` when the batch failed before it had claimed anything.
    pub claim: Option<Claim>,
}

/// The due schedules that a batch has claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The position of the last one.
    pub end: DuePosition,
    pub schedules: u16,
    /// The first one that is not locked, with its flag.
    pub first: Option<(FlagId, ScheduleId)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StillDue {
    pub count: u64,
    pub oldest_age: Duration,
}
