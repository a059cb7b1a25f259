//! The steps of a schedule's life as the store is asked for them, and what it answers.

use std::time::Duration;

use super::apply::Outcome;
use super::audit_event::{EventContext, EventId};
use super::flag::{FlagAddress, FlagId};
use super::schedule::{IdempotencyKey, NewSchedule, Schedule, ScheduleId, Status};
use super::time::Timestamp;
use crate::error::Source;

/// A schedule to be stored, with what is known of its event.
#[derive(Debug, Clone, PartialEq)]
pub struct Creation {
    /// The new schedule's id, made by the caller, so that a repetition is recognised.
    pub id: ScheduleId,
    /// The flag.
    pub flag: FlagAddress,
    /// What to store.
    pub schedule: NewSchedule,
    /// The admin's user id.
    pub created_by: String,
    /// The key that makes a retry safe.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The id of the event.
    pub event_id: EventId,
    /// What is known of the event.
    pub context: EventContext,
}

/// What became of a [`Creation`].
#[derive(Debug)]
pub enum Created {
    /// It is stored.
    Stored(Box<Recorded>),
    /// The key was used before, for the same: here is that schedule as it now stands.
    Replayed(Box<Schedule>),
    /// The key was used before, for something else.
    KeyReused,
    /// There is no such flag.
    NoSuchFlag,
    /// By the database's clock, `scheduled_at` is past or too far ahead.
    NotInTime {
        /// What that clock said.
        database_now: Timestamp,
    },
}

/// A committed change: the schedule as it stands, and where its event is.
#[derive(Debug)]
pub struct Recorded {
    /// The schedule.
    pub schedule: Schedule,
    /// The event.
    pub event: EventPlace,
}

/// Where the event of a committed change is.
#[derive(Debug)]
pub enum EventPlace {
    /// In the outbox, to be delivered from there.
    Outbox,
    /// Nowhere: the outbox could not be written, for this reason. The event must be delivered directly.
    Nowhere(Source),
}

/// Which page of a flag's schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// Only schedules of this status.
    pub status: Option<Status>,
    /// At most this many.
    pub limit: u16,
    /// Only what comes after this position.
    pub after: Option<PagePosition>,
}

/// A position in the order `scheduled_at`, `id`. Microseconds, as the database keeps them: a cut position would repeat
/// or skip rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PagePosition {
    /// `scheduled_at` in microseconds since 1970.
    pub scheduled_at_micros: i64,
    /// The schedule's id.
    pub id: ScheduleId,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The schedules.
    pub schedules: Vec<Schedule>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<PagePosition>,
}

/// A schedule to be cancelled, with what is known of the event.
#[derive(Debug, Clone, PartialEq)]
pub struct Cancellation {
    /// The schedule.
    pub id: ScheduleId,
    /// The flag it must belong to.
    pub flag: FlagAddress,
    /// The admin's user id.
    pub cancelled_by: String,
    /// Why.
    pub reason: Option<String>,
    /// The id of the event.
    pub event_id: EventId,
    /// What is known of the event.
    pub context: EventContext,
}

/// What became of a [`Cancellation`].
#[derive(Debug)]
pub enum Cancelled {
    /// It is cancelled, by this call.
    Stored(Box<Recorded>),
    /// There is no such flag.
    NoSuchFlag,
    /// There is no such schedule of that flag.
    NoSuchSchedule,
    /// It had reached its end before; here it is.
    NotPending(Box<Schedule>),
}

/// A position in the order in which due schedules are claimed: `scheduled_at`, `created_at`, `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePosition {
    /// `scheduled_at` in microseconds since 1970.
    pub scheduled_at_micros: i64,
    /// `created_at` in microseconds since 1970.
    pub created_at_micros: i64,
    /// The schedule's id.
    pub id: ScheduleId,
}

/// How far a tick has come. The store moves it; the processor only keeps it from batch to batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Beyond this, the work goes on; `None` at the oldest, where each pass over all that is due begins.
    pub after: Option<DuePosition>,
    /// Flags that this tick leaves alone: an error stood in the way.
    pub left: Vec<FlagId>,
    /// How far those batches would have come that took too long, the largest first: up to there, smaller ones.
    pub too_slow: Vec<DuePosition>,
}

impl Progress {
    /// A batch has come this far; `None` when nothing due lies beyond it.
    pub fn pass(&mut self, reached: Option<DuePosition>) {
        self.after = reached;
        while self.too_slow.last().is_some_and(|end| reached.is_none_or(|reached| reached >= *end)) {
            self.too_slow.pop();
        }
    }
}

/// What one [`apply_due`](crate::ports::ScheduleStore::apply_due) did.
#[derive(Debug, Default)]
pub struct Batch {
    /// The transitions, committed.
    pub ended: Vec<Ended>,
    /// Flags that could not be worked on, and why; what is due of them stays so.
    pub left: Vec<(FlagId, Source)>,
    /// Set when the outbox could not be written: the events, which must be delivered directly.
    pub without_outbox: Option<(Source, Vec<Schedule>)>,
}

/// A schedule that reached its end in a tick.
#[derive(Debug)]
pub struct Ended {
    /// The schedule.
    pub id: ScheduleId,
    /// Its event.
    pub event_id: EventId,
    /// What became of it.
    pub outcome: Outcome,
}

/// What is due and still pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StillDue {
    /// How many schedules.
    pub count: u64,
    /// For how long the oldest has been due.
    pub oldest_age: Duration,
}
