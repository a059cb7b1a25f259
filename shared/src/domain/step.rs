//! The steps of a schedule's life as the store is asked for them, and what it answers.

use super::audit_event::{AuditEvent, EventContext, EventId};
use super::flag::FlagAddress;
use super::schedule::{IdempotencyKey, NewSchedule, Schedule, ScheduleId, Status};
use super::time::Timestamp;

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
    pub event: EventRoute,
}

/// Where the event of a committed change is.
#[derive(Debug)]
pub enum EventRoute {
    /// In the outbox, to be delivered from there.
    Outbox,
    /// Not stored, because the outbox could not be written: it was logged before the commit, and must be sent directly.
    Direct(Box<AuditEvent>),
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

/// A point in time exactly as PostgreSQL keeps it: microseconds since 2000, whose extremes are the infinities. For positions
/// in an order, where a truncated or clamped time would repeat or skip rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredMicros(pub i64);

impl StoredMicros {
    /// `infinity`.
    pub const INFINITY: Self = Self(i64::MAX);
    /// `-infinity`.
    pub const MINUS_INFINITY: Self = Self(i64::MIN);
}

/// A position in the order `scheduled_at`, `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PagePosition {
    /// `scheduled_at`.
    pub scheduled_at: StoredMicros,
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
