//! Flags and their schedules, as the endpoints need them.

use async_trait::async_trait;
use thiserror::Error;

use super::outbox::FallbackLog;
use super::store_error::StoreError;
use crate::domain::audit_event::{AuditEvent, EventDraft};
use crate::domain::flag::{Environment, FlagAddress};
use crate::domain::schedule::{Cancellation, NewSchedule, Schedule, ScheduleId, Status};
use crate::domain::time::{StoredMicros, Timestamp};

#[async_trait]
pub trait ScheduleReader: Send + Sync {
    /// One page of a flag's schedules in the order `scheduled_at`, `id`; `None` when there is no such flag.
    async fn list(&self, flag: &FlagAddress, query: &PageQuery) -> Result<Option<Page>, StoreError>;

    /// A schedule of that flag.
    async fn find(&self, flag: &FlagAddress, id: ScheduleId) -> Result<Schedule, ScheduleError>;

    /// One page of the schedules of all flags in the order `scheduled_at`, `id`, or its reverse. It may be shorter than its
    /// limit, even empty, without being the last.
    async fn list_across_flags(&self, query: &AcrossFlagsQuery) -> Result<Page, StoreError>;
}

/// Stores every change together with its audit event, or neither. Only when the outbox cannot be written, the change is
/// stored alone: then the fallback_log gets the whole event before the commit, and the caller gets [`EventRoute::Direct`].
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// Stores a pending schedule, if the flag exists and the database's clock agrees with `scheduled_at`.
    /// Idempotent in `id` and the event's id.
    async fn create(
        &self,
        id: ScheduleId,
        schedule: &NewSchedule,
        event: &EventDraft,
        fallback_log: &dyn FallbackLog,
    ) -> Result<CreateOutcome, ScheduleError>;

    /// Cancels a schedule of that flag if it is pending; of concurrent calls, one succeeds. Idempotent in the event's id.
    async fn cancel(
        &self,
        cancellation: &Cancellation,
        event: &EventDraft,
        fallback_log: &dyn FallbackLog,
    ) -> Result<Box<CommittedChange>, ScheduleError>;
}

#[derive(Debug)]
pub enum CreateOutcome {
    Created(Box<CommittedChange>),
    /// The idempotency key was used before for the same change: that schedule, in its current state.
    Replayed(Box<Schedule>),
}

/// A committed change.
#[derive(Debug)]
pub struct CommittedChange {
    pub schedule: Schedule,
    pub route: EventRoute,
}

/// How the event of a committed change reaches the audit log.
#[derive(Debug)]
pub enum EventRoute {
    /// It is in the outbox.
    Outbox,
    /// The outbox could not be written: the event was logged before the commit, and must be sent directly.
    Direct(Box<AuditEvent>),
}

/// Why a schedule could not be created, read or cancelled.
#[derive(Debug, Error)]
pub enum ScheduleError {
    #[error("no such flag")]
    NoSuchFlag,
    #[error("no such schedule")]
    NoSuchSchedule,
    #[error("the idempotency key was used before, for another change")]
    KeyReused,
    /// The schedule has already ended; this is its current state.
    #[error("the schedule is {}", .0.status)]
    NotPending(Box<Schedule>),
    /// By the database's clock, `scheduled_at` is in the past or too far ahead.
    #[error("scheduled_at is not within the time that can be scheduled")]
    NotInTime { database_now: Timestamp },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    pub status: Option<Status>,
    pub limit: u16,
    /// Only schedules after this position.
    pub after: Option<PagePosition>,
}

/// What to list across flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcrossFlagsQuery {
    pub environment: Environment,
    pub status: Status,
    /// Of `scheduled_at`, inclusive.
    pub from: Option<Timestamp>,
    /// Of `scheduled_at`, exclusive.
    pub to: Option<Timestamp>,
    pub order: Order,
    pub limit: u16,
    /// Only schedules after this position, in that order.
    pub after: Option<PagePosition>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Ascending,
    Descending,
}

impl Order {
    pub const ALL: [Self; 2] = [Self::Ascending, Self::Descending];

    /// As in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

/// A position in the order `scheduled_at`, `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PagePosition {
    pub scheduled_at: StoredMicros,
    pub id: ScheduleId,
}

#[derive(Debug)]
pub struct Page {
    pub schedules: Vec<Schedule>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<PagePosition>,
}
