//! What the processor needs of the store: batches of due schedules, applied one transaction at a time.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::outbox::EventJournal;
use super::store_error::{Fault, StoreError};
use crate::domain::apply::Outcome;
use crate::domain::audit_event::{AuditEvent, EventContext, EventId};
use crate::domain::flag::FlagId;
use crate::domain::schedule::ScheduleId;
use crate::domain::time::StoredMicros;

/// What is due.
#[async_trait]
pub trait DueStore: Send + Sync {
    /// Claims flags with something due, [decides](crate::domain::apply::decide) what becomes of it, and stores flags,
    /// schedules and events in one transaction. Never waits for a lock on a flag or a schedule: flags for which it would
    /// have to are passed over and counted.
    async fn apply_batch(
        &self,
        request: &BatchRequest<'_>,
        journal: &dyn EventJournal,
    ) -> Result<Batch, BatchFailure>;

    /// Stores a batch of nothing, with events or without: an error is not about any schedule.
    async fn check(&self, direct: bool, deadline: Instant) -> Result<(), StoreError>;

    /// Whether another tick is in the middle of a batch, and may hold what this one was looking for.
    async fn is_another_tick_working(&self, tick: i32) -> Result<bool, StoreError>;

    /// What is due by now and still pending.
    async fn still_due(&self) -> Result<StillDue, StoreError>;
}

/// A position in the order in which due schedules are claimed: `scheduled_at`, `created_at`, `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePosition {
    /// `scheduled_at`.
    pub scheduled_at: StoredMicros,
    /// `created_at`; rows without one come first.
    pub created_at: StoredMicros,
    /// The schedule's id.
    pub id: ScheduleId,
}

/// Which due schedules one batch is to apply, and how.
#[derive(Debug, Clone)]
pub struct BatchRequest<'a> {
    /// The tick, among those that run at the same time; never negative.
    pub tick: i32,
    /// What is known of the events.
    pub context: &'a EventContext,
    /// Only what comes after this position.
    pub after: Option<DuePosition>,
    /// At most this many schedules.
    pub limit: u16,
    /// Flags to leave alone.
    pub skip: Vec<FlagId>,
    /// Why the events do not go to the outbox but are handed back, if so.
    pub direct: Option<String>,
    /// A schedule to fail, and why: the database rejected it before.
    pub reject: Option<(ScheduleId, String)>,
    /// When it must have ended.
    pub deadline: Instant,
}

/// What a batch did, committed.
#[derive(Debug, Default)]
pub struct Batch {
    /// How far it came; `None` when nothing due lies beyond.
    pub reached: Option<DuePosition>,
    /// The schedules that reached their end.
    pub ended: Vec<Ended>,
    /// Their events, if they were not to go to the outbox.
    pub direct: Vec<AuditEvent>,
    /// Flags that were passed over because somebody else holds a lock on them or on something due of them.
    pub flags_locked: u64,
}

/// A schedule that reached its end in a tick.
#[derive(Debug)]
pub struct Ended {
    /// The schedule.
    pub id: ScheduleId,
    /// Its flag.
    pub flag_id: FlagId,
    /// Its event.
    pub event_id: EventId,
    /// What became of it.
    pub outcome: Outcome,
}

/// Why a batch was not stored. Nothing of it was.
#[derive(Debug)]
pub struct BatchFailure {
    /// What happened.
    pub error: StoreError,
    /// What that means.
    pub fault: Fault,
    /// What the batch had claimed, if it came that far.
    pub claim: Option<Claim>,
}

/// What a batch has claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The position that it would have reached.
    pub end: DuePosition,
    /// How many schedules that are.
    pub schedules: u16,
    /// The first one, with its flag.
    pub first: Option<(FlagId, ScheduleId)>,
}

/// What is due and still pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StillDue {
    /// How many schedules.
    pub count: u64,
    /// For how long the oldest has been due.
    pub oldest_age: Duration,
}
