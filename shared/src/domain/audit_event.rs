//! The audit event: the one type that renders a transition for the trail, from what the service knew and what the
//! database returned. Its wire shape is version 1 of `docs/audit-event.schema.json`.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::admin::{CallContext, Caller};
use super::flag::{Environment, FlagKey, FlagState};
use super::schedule::{Schedule, ScheduleId, StoredUpdates};
use super::time::Timestamp;

/// The name that the processor acts under.
pub const PROCESSOR: &str = "schedule-processor";

/// An event's id: a UUIDv7, the same in every copy of the event, so that readers can de-duplicate by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl EventId {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

/// The four transitions of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// Nothing became pending.
    #[serde(rename = "flag_schedule.created")]
    Created,
    /// Pending became cancelled.
    #[serde(rename = "flag_schedule.cancelled")]
    Cancelled,
    /// Pending became applied.
    #[serde(rename = "flag_schedule.applied")]
    Applied,
    /// Pending became failed.
    #[serde(rename = "flag_schedule.failed")]
    Failed,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Created, Self::Cancelled, Self::Applied, Self::Failed];

    /// The name in the trail and in the outbox.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "flag_schedule.created",
            Self::Cancelled => "flag_schedule.cancelled",
            Self::Applied => "flag_schedule.applied",
            Self::Failed => "flag_schedule.failed",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == text)
    }

    /// When the transition took place, by the column that the database filled.
    fn occurred_at(self, schedule: &Schedule) -> Result<Timestamp, IncompleteEvent> {
        match self {
            Self::Created => schedule.created_at.ok_or(IncompleteEvent("created_at")),
            Self::Cancelled => schedule.cancelled_at.ok_or(IncompleteEvent("cancelled_at")),
            Self::Applied => schedule.applied_at.ok_or(IncompleteEvent("applied_at")),
            Self::Failed => schedule.failed_at.ok_or(IncompleteEvent("failed_at")),
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Actor {
    /// A person, by their token.
    Admin {
        /// The user id.
        user_id: String,
        /// The e-mail address, where the token has one.
        email: Option<String>,
    },
    /// The service itself.
    System {
        /// The function's name.
        name: String,
    },
}

/// In which request it was done: a person's call, or a tick, which has no caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestFacts {
    /// A tick. Tried first: it refuses the further fields of a call.
    System(SystemRequest),
    /// An HTTP request.
    Http(CallContext),
}

/// A tick's invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemRequest {
    /// Lambda's request id.
    pub request_id: String,
}

/// A flag before and after a schedule was applied to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagChange {
    /// The flag's state before.
    pub before: FlagState,
    /// The flag's state after.
    pub after: FlagState,
}

/// What the service knows of an event when it hands the change to the store; kept with the outbox row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventContext {
    /// Who.
    pub actor: Actor,
    /// In which request.
    pub request: RequestFacts,
    /// What became of the flag; for applied schedules only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub change: Option<FlagChange>,
}

impl EventContext {
    /// An admin's act.
    #[must_use]
    pub fn of_admin(caller: &Caller) -> Self {
        Self {
            actor: Actor::Admin { user_id: caller.admin.user_id.clone(), email: caller.admin.email.clone() },
            request: RequestFacts::Http(caller.call.clone()),
            change: None,
        }
    }

    /// The admin's user id.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match &self.actor {
            Actor::Admin { user_id, .. } => Some(user_id),
            Actor::System { .. } => None,
        }
    }

    /// The processor's act.
    #[must_use]
    pub fn of_processor(request_id: &str) -> Self {
        Self {
            actor: Actor::System { name: PROCESSOR.to_owned() },
            request: RequestFacts::System(SystemRequest { request_id: request_id.to_owned() }),
            change: None,
        }
    }
}

/// An event whose schedule has not been stored yet: what the database does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    pub id: EventId,
    pub event_type: EventType,
    pub context: EventContext,
}

impl EventDraft {
    /// The draft of an admin's action.
    #[must_use]
    pub fn of_admin(event_type: EventType, caller: &Caller) -> Self {
        Self { id: EventId::new(), event_type, context: EventContext::of_admin(caller) }
    }

    /// The event, with the schedule as stored.
    ///
    /// # Errors
    /// [`IncompleteEvent`].
    pub fn complete(&self, schedule: &Schedule) -> Result<AuditEvent, IncompleteEvent> {
        AuditEvent::of(self.id, self.event_type, self.context.clone(), schedule)
    }
}

/// An event's severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// As it should be.
    Info,
    /// A schedule failed.
    Error,
}

/// The schedule, as an event shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleFacts {
    scheduled_at: Timestamp,
    apply_by: Option<Timestamp>,
    updates: StoredUpdates,
    reason: Option<String>,
    created_by: Option<String>,
    created_at: Option<Timestamp>,
}

/// Why a schedule failed, as an event shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorFacts {
    code: String,
    message: String,
}

/// One event, version 1. Serialises to one JSON object on one line, whatever was typed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEvent {
    schema_version: u8,
    /// The event's id.
    pub event_id: EventId,
    /// Which transition.
    pub event_type: EventType,
    level: Level,
    /// When it took place, by the database's clock.
    pub occurred_at: Timestamp,
    /// Which schedule.
    pub schedule_id: ScheduleId,
    flag_key: FlagKey,
    environment: Environment,
    actor: Actor,
    schedule: ScheduleFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<FlagChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lateness_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorFacts>,
    request: RequestFacts,
}

/// A fact that this type of event cannot do without is missing: the named field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an audit event lacks `{0}`, which the change should have written")]
pub struct IncompleteEvent(pub &'static str);

impl AuditEvent {
    /// Renders a transition.
    ///
    /// # Errors
    /// [`IncompleteEvent`] when the schedule does not carry what the transition must have written.
    pub fn of(
        event_id: EventId,
        event_type: EventType,
        context: EventContext,
        schedule: &Schedule,
    ) -> Result<Self, IncompleteEvent> {
        let occurred_at = event_type.occurred_at(schedule)?;
        let by_processor = matches!(event_type, EventType::Applied | EventType::Failed);
        let change = match event_type {
            EventType::Applied => Some(context.change.ok_or(IncompleteEvent("change"))?),
            EventType::Created | EventType::Cancelled | EventType::Failed => None,
        };
        let error = match event_type {
            EventType::Failed => Some(ErrorFacts {
                code: schedule.error_code.clone().ok_or(IncompleteEvent("error_code"))?,
                message: schedule.error_message.clone().unwrap_or_default(),
            }),
            EventType::Created | EventType::Cancelled | EventType::Applied => None,
        };
        Ok(Self {
            schema_version: 1,
            event_id,
            event_type,
            level: if event_type == EventType::Failed { Level::Error } else { Level::Info },
            occurred_at,
            schedule_id: schedule.id,
            flag_key: schedule.flag_key.clone(),
            environment: schedule.environment.clone(),
            actor: context.actor,
            schedule: ScheduleFacts {
                scheduled_at: schedule.scheduled_at,
                apply_by: schedule.apply_by,
                updates: schedule.updates.clone(),
                reason: schedule.reason.clone(),
                created_by: schedule.created_by.clone(),
                created_at: schedule.created_at,
            },
            cancel_reason: (event_type == EventType::Cancelled).then(|| schedule.cancel_reason.clone()),
            change,
            lateness_ms: by_processor
                .then(|| occurred_at.since(schedule.scheduled_at).num_milliseconds().max(0)),
            error,
            request: context.request,
        })
    }
}

#[cfg(test)]
mod tests;
