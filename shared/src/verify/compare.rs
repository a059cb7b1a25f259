//! One event against one row. Pure.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::event::{Fields, TrailEvent};
use crate::domain::audit_event::{
    Actor, EventContext, EventDraft, EventId, EventType, FlagChange, IncompleteEvent, PROCESSOR,
    RequestFacts, SCHEMA_VERSION, SystemRequest,
};
use crate::domain::flag::FlagState;
use crate::domain::schedule::{Schedule, Status, StoredStatus, StoredUpdates};

/// Fields that came with a version: an event of an earlier one lacks them.
const ADDED: [(u8, &str); 1] = [(2, "schedule.expect")];

/// Whether the row says that this happened.
pub(super) fn claims(schedule: &Schedule, event_type: EventType) -> bool {
    let status = match event_type {
        EventType::Created => return true,
        EventType::Cancelled => Status::Cancelled,
        EventType::Applied => Status::Applied,
        EventType::Failed => Status::Failed,
    };
    schedule.status == StoredStatus::Known(status)
}

/// Whether this service made the transition, so that there must be an event. In rows from before the service recorded
/// creators (`created_by` is null), another tool may have set the same columns; only an end that has what only this service
/// stores with it is certainly its own.
pub(super) fn is_ours(schedule: &Schedule, event_type: EventType) -> bool {
    schedule.created_by.is_some()
        || match event_type {
            EventType::Created | EventType::Applied => false,
            EventType::Cancelled => schedule.cancelled_by.is_some(),
            EventType::Failed => schedule.failed_at.is_some() && schedule.error_code.is_some(),
        }
}

/// What the event of a transition must say, as far as the row knows it: rendered by the same code as the event itself.
pub(super) fn expected(schedule: &Schedule, event_type: EventType) -> Result<Fields, IncompleteEvent> {
    let admin =
        |user_id: &Option<String>| Actor::Admin { user_id: user_id.clone().unwrap_or_default(), email: None };
    let nothing = FlagState { enabled: false, rollout_percentage: 0 };
    let context = EventContext {
        actor: match event_type {
            EventType::Created => admin(&schedule.created_by),
            EventType::Cancelled => admin(&schedule.cancelled_by),
            EventType::Applied | EventType::Failed => Actor::System { name: PROCESSOR.to_owned() },
        },
        request: RequestFacts::System(SystemRequest { request_id: String::new() }),
        change: (event_type == EventType::Applied).then_some(FlagChange { before: nothing, after: nothing }),
        state: None,
    };
    let event = EventDraft { id: EventId(Uuid::nil()), event_type, context }.complete(schedule)?;
    // Serialising cannot fail, and what this release renders it can also parse.
    let rendered = serde_json::to_string(&event).unwrap_or_default();
    Ok(TrailEvent::parse(&rendered).map(|event| event.known).unwrap_or_default())
}

/// The fields in which an event contradicts the row that it names, in alphabetical order.
pub(super) fn differences(event: &TrailEvent, schedule: &Schedule) -> Vec<String> {
    if !claims(schedule, event.event_type) {
        return vec!["event_type".to_owned()];
    }
    let mut expected = match expected(schedule, event.event_type) {
        Ok(expected) => expected,
        Err(IncompleteEvent(column)) => {
            let field = if column == "error_code" { "error.code" } else { "occurred_at" };
            return vec![field.to_owned()];
        }
    };
    let mut found = event.known.clone();
    align_versions(&mut found, &mut expected);
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let mut differences: BTreeSet<String> =
        names.into_iter().filter(|name| found.get(*name) != expected.get(*name)).cloned().collect();
    differences.extend(implausible(event, &schedule.updates).into_iter().map(str::to_owned));
    differences.into_iter().collect()
}

/// Leaves the fields of the event's version.
fn align_versions(found: &mut Fields, expected: &mut Fields) {
    let Some(version) = found.get("schema_version").and_then(Value::as_u64).filter(|version| *version > 0)
    else {
        return;
    };
    if version < u64::from(SCHEMA_VERSION) {
        for (since, name) in ADDED {
            if version < u64::from(since) {
                expected.remove(name);
            }
        }
    } else if version > u64::from(SCHEMA_VERSION) {
        // Written by a later release, before a rollback.
        found.retain(|name, _| expected.contains_key(name));
    }
    expected.insert("schema_version".to_owned(), version.into());
}

/// What the row does not know, but cannot be as it is.
pub(super) fn implausible(event: &TrailEvent, updates: &StoredUpdates) -> Vec<&'static str> {
    let raw = |name: &str| event.beyond.get(name).map(String::as_str);
    let by_admin = matches!(event.event_type, EventType::Created | EventType::Cancelled);
    let mut faults = Vec::new();
    if event.event_id.0.get_version_num() != 7 {
        faults.push("event_id");
    }
    let email = raw("actor.email").map(serde_json::from_str::<Option<String>>);
    if by_admin && !matches!(email, Some(Ok(_))) || !by_admin && email.is_some() {
        faults.push("actor.email");
    }
    let request = raw("request").unwrap_or_default();
    let is_request = if by_admin {
        serde_json::from_str(request).is_ok_and(|request: HttpRequest| request.is_plausible())
    } else {
        serde_json::from_str(request).is_ok_and(|request: TickRequest| !request.request_id.is_empty())
    };
    if !is_request {
        faults.push("request");
    }
    let is_change = match (event.event_type, raw("change")) {
        (EventType::Applied, Some(change)) => {
            serde_json::from_str(change).is_ok_and(|change: Change| change.follows(updates))
        }
        (EventType::Applied, None) => false,
        (_, change) => change.is_none(),
    };
    if !is_change {
        faults.push("change");
    }
    let has_state =
        event.event_type == EventType::Failed && event.known.get("schema_version") != Some(&1.into());
    let is_state = match raw("state") {
        // Null if the failure was recorded by a release of version 1, and its event delivered by a later one.
        Some(state) => has_state && serde_json::from_str::<Option<State>>(state).is_ok(),
        None => !has_state,
    };
    if !is_state {
        faults.push("state");
    }
    faults
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpRequest {
    request_id: String,
    source_ip: Value,
    user_agent: Value,
}

impl HttpRequest {
    fn is_plausible(&self) -> bool {
        let is_text = |value: &Value| value.is_null() || value.is_string();
        !self.request_id.is_empty() && is_text(&self.source_ip) && is_text(&self.user_agent)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TickRequest {
    request_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    before: State,
    after: State,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    enabled: bool,
    rollout_percentage: i32,
}

impl Change {
    /// Whether it is what the updates ask for, and leaves the rest alone.
    fn follows(&self, updates: &StoredUpdates) -> bool {
        // A row that cannot be applied, but was: what was altered is seen in `schedule.updates`.
        let StoredUpdates::Readable(updates) = updates else { return true };
        let rollout_percentage = updates.rollout_percentage.map(i32::from);
        self.after.enabled == updates.enabled.unwrap_or(self.before.enabled)
            && self.after.rollout_percentage == rollout_percentage.unwrap_or(self.before.rollout_percentage)
    }
}
