//! What the database says happened: the transitions of schedules, and which of their events are still undelivered.

use async_trait::async_trait;

use super::store_error::StoreError;
use crate::domain::audit_event::{EventId, EventType};
use crate::domain::schedule::{Schedule, ScheduleId};
use crate::domain::time::{StoredMicros, Timestamp};

#[async_trait]
pub trait Transitions: Send + Sync {
    /// The transitions after a position and before `to`, in the order of time, at most `limit`. A row claims to have been
    /// created if it says by whom, and the end that its status says.
    async fn page(&self, after: &Position, to: Timestamp, limit: u16) -> Result<Vec<Transition>, StoreError>;

    /// Schedules by id, in any order; those that do not exist are missing.
    async fn find(&self, ids: &[ScheduleId]) -> Result<Vec<Schedule>, StoreError>;

    /// Events in the outbox, dead ones included, in the order of their ids, at most `limit`. Those of types that this
    /// release does not know have no key.
    async fn undelivered(
        &self,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Vec<UndeliveredEvent>, StoreError>;
}

/// A schedule has at most one transition of each type.
pub type TransitionKey = (ScheduleId, EventType);

#[derive(Debug, Clone)]
pub struct Transition {
    pub event_type: EventType,
    pub position: Position,
    pub schedule: Schedule,
}

/// A position in the order of time, id, event type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub occurred_at: StoredMicros,
    pub id: ScheduleId,
    /// The event type's name.
    pub event_type: &'static str,
}

impl Position {
    /// Before everything at `time` and later.
    #[must_use]
    pub fn start(time: Timestamp) -> Self {
        Self { occurred_at: StoredMicros::from_timestamp(time), id: ScheduleId::default(), event_type: "" }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeliveredEvent {
    pub event_id: EventId,
    pub key: Option<TransitionKey>,
}
