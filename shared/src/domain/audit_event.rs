//! Audit events: renders a transition from the service's context and the stored schedule. The wire format is version
//! 2 of `docs/audit-event.schema.json`.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::admin::{CallContext, Caller};
use super::flag::{Environment, FlagKey, FlagState};
use super::schedule::{Schedule, ScheduleId, StoredUpdates};
use super::time::Timestamp;

/// Of the events that this release writes. Fields may be added only under a new version.
pub const SCHEMA_VERSION: u8 = 2;

/// The processor's name as an actor.
pub const PROCESSOR: &str = "schedule-processor";

/// A UUIDv7, the same in every copy of the event, so that readers can de-duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl EventId {
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

/// Schedule transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventType {
    #[serde(rename = "flag_schedule.created")]
    Created,
    #[serde(rename = "flag_schedule.cancelled")]
    Cancelled,
    #[serde(rename = "flag_schedule.applied")]
    Applied,
    #[serde(rename = "flag_schedule.failed")]
    Failed,
}

impl EventType {
    pub const ALL: [Self; 4] = [Self::Created, Self::Cancelled, Self::Applied, Self::Failed];

    /// The transitions that the processor makes.
    pub const OF_PROCESSOR: [Self; 2] = [Self::Applied, Self::Failed];

    /// The name in the audit log and in the outbox.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "flag_schedule.created",
            Self::Cancelled => "flag_schedule.cancelled",
            Self::Applied => "flag_schedule.applied",
            Self::Failed => "flag_schedule.failed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == text)
    }

    /// From the column that the database filled for this transition.
    fn occurred_at(self, schedule: &Schedule) -> Result<Timestamp, IncompleteEvent> {
        match self {
            Self::Created => schedule.created_at.ok_or(IncompleteEvent("created_at")),
            Self::Cancelled => schedule.cancelled_at.ok_or(IncompleteEvent("cancelled_at")),
            Self::Applied => schedule.applied_at.ok_or(IncompleteEvent("applied_at")),
            Self::Failed => schedule.failed_at.ok_or(IncompleteEvent("failed_at")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Actor {
    Admin {
        user_id: String,
        email: Option<String>,
    },
    System {
        /// The name of a function.
        name: String,
    },
}

/// The request behind a transition: an admin's call, or a tick, which has no caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestFacts {
    /// Tried first: it rejects the additional fields of a call.
    System(SystemRequest),
    Http(CallContext),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemRequest {
    /// Lambda's request id.
    pub request_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagChange {
    pub before: FlagState,
    pub after: FlagState,
}

/// What the service knows before the change is stored; saved with the outbox row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventContext {
    pub actor: Actor,
    pub request: RequestFacts,
    /// For applied schedules only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub change: Option<FlagChange>,
    /// The flag as found, for failed schedules only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<FlagState>,
}

impl EventContext {
    #[must_use]
    pub fn of_admin(caller: &Caller) -> Self {
        Self {
            actor: Actor::Admin { user_id: caller.admin.user_id.clone(), email: caller.admin.email.clone() },
            request: RequestFacts::Http(caller.call.clone()),
            change: None,
            state: None,
        }
    }

    /// `None` for the processor.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match &self.actor {
            Actor::Admin { user_id, .. } => Some(user_id),
            Actor::System { .. } => None,
        }
    }

    #[must_use]
    pub fn of_processor(request_id: &str) -> Self {
        Self {
            actor: Actor::System { name: PROCESSOR.to_owned() },
            request: RequestFacts::System(SystemRequest { request_id: request_id.to_owned() }),
            change: None,
            state: None,
        }
    }
}

/// An event without its stored schedule, which the database supplies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    pub id: EventId,
    pub event_type: EventType,
    pub context: EventContext,
}

impl EventDraft {
    #[must_use]
    pub fn of_admin(event_type: EventType, caller: &Caller) -> Self {
        Self { id: EventId::new(), event_type, context: EventContext::of_admin(caller) }
    }

    /// Adds the stored schedule.
    pub fn complete(&self, schedule: &Schedule) -> Result<AuditEvent, IncompleteEvent> {
        AuditEvent::of(self.id, self.event_type, self.context.clone(), schedule)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Info,
    /// For failed schedules only.
    Error,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleFacts {
    scheduled_at: Timestamp,
    apply_by: Option<Timestamp>,
    updates: StoredUpdates,
    expect: Option<StoredUpdates>,
    reason: Option<String>,
    created_by: Option<String>,
    created_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorFacts {
    code: String,
    message: String,
}

/// Serialises to one JSON object on one line, whatever text users typed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEvent {
    schema_version: u8,
    pub event_id: EventId,
    pub event_type: EventType,
    level: Level,
    /// By the database's clock.
    pub occurred_at: Timestamp,
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
    /// Null if the failure was recorded by a release that did not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Option<FlagState>>,
    request: RequestFacts,
}

/// Names the missing field, which this event type requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an audit event lacks `{0}`, which the change should have written")]
pub struct IncompleteEvent(pub &'static str);

impl AuditEvent {
    /// Fails if the schedule lacks a field that the transition must have set.
    pub fn of(
        event_id: EventId,
        event_type: EventType,
        context: EventContext,
        schedule: &Schedule,
    ) -> Result<Self, IncompleteEvent> {
        let occurred_at = event_type.occurred_at(schedule)?;
        let by_processor = EventType::OF_PROCESSOR.contains(&event_type);
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
            schema_version: SCHEMA_VERSION,
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
                expect: schedule.expect.clone(),
                reason: schedule.reason.clone(),
                created_by: schedule.created_by.clone(),
                created_at: schedule.created_at,
            },
            cancel_reason: (event_type == EventType::Cancelled).then(|| schedule.cancel_reason.clone()),
            change,
            lateness_ms: by_processor
                .then(|| occurred_at.since(schedule.scheduled_at).num_milliseconds().max(0)),
            error,
            state: (event_type == EventType::Failed).then_some(context.state),
            request: context.request,
        })
    }
}

#[cfg(test)]
mod tests;
