//! What a verification found: the invocation's result.

use serde::Serialize;
use serde_json::Value;

use super::event::TrailEvent;
use crate::domain::audit_event::{EventId, EventType};
use crate::domain::flag::{Environment, FlagKey};
use crate::domain::schedule::{Schedule, ScheduleId, StoredStatus};
use crate::domain::time::Timestamp;
use crate::domain::time_range::TimeRange;

/// Most findings of a kind that are listed; all are counted.
pub(super) const MAX_LISTED: usize = 1_000;
/// Longest text that is copied from an event, in characters: a forged one may hold anything.
const MAX_TEXT: usize = 100;
/// Most fields that are listed of an event; an honest one has fewer.
const MAX_FIELDS: usize = 30;

#[derive(Debug, Serialize)]
pub struct Verification {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Whether all of the window was verified.
    pub complete: bool,
    /// With the same `from` and `to`, continues an incomplete run.
    pub resume: Option<Timestamp>,
    #[serde(flatten)]
    pub findings: Findings,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Transitions in the database.
    pub checked: u64,
    /// Events read, copies included.
    pub events: u64,
    /// Further copies of events.
    pub duplicates: u64,
    /// Transitions whose event is still in the outbox.
    pub undelivered: u64,
    pub missing_count: u64,
    pub unknown_count: u64,
    pub different_count: u64,
    pub missing: Vec<Missing>,
    pub unknown: Vec<Unknown>,
    pub different: Vec<Different>,
}

/// A transition without an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    pub schedule_id: ScheduleId,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
    pub flag_key: FlagKey,
    pub environment: Environment,
}

/// An event without a transition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unknown {
    pub schedule_id: Option<String>,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    #[serde(flatten)]
    pub facts: EventFacts,
    pub reason: Reason,
}

/// What else a finding repeats of its event, as far as it can be read: enough to know the flag without a query.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EventFacts {
    pub occurred_at: Option<String>,
    pub flag_key: Option<String>,
    pub environment: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There is no such schedule, or no longer.
    NoSchedule,
    /// The transition has another event.
    SecondEvent,
    /// It is not an event of this service, or of a type that this release does not know.
    Unreadable,
}

/// An event that contradicts its row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Different {
    pub schedule_id: ScheduleId,
    pub event_type: EventType,
    pub event_id: EventId,
    #[serde(flatten)]
    pub facts: EventFacts,
    /// In the event's names.
    pub fields: Vec<String>,
    /// What the row says now.
    pub row_status: Option<String>,
}

impl Reason {
    /// As in the result.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "no_schedule",
            Self::SecondEvent => "second_event",
            Self::Unreadable => "unreadable",
        }
    }
}

impl EventFacts {
    fn read<'a>(field: impl Fn(&str) -> Option<&'a Value>) -> Self {
        let text = |name: &str| field(name).and_then(Value::as_str).map(shortened);
        Self {
            occurred_at: text("occurred_at"),
            flag_key: text("flag_key"),
            environment: text("environment"),
        }
    }

    fn of(event: &TrailEvent) -> Self {
        Self::read(|name| event.known.get(name))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Different {
    pub(super) fn new(event: &TrailEvent, row: &Schedule, fields: &[String]) -> Self {
        let fields = fields.iter().take(MAX_FIELDS).map(|field| shortened(field)).collect();
        let row_status = match &row.status {
            StoredStatus::Known(status) => Some(status.as_str().to_owned()),
            StoredStatus::Foreign(status) => status.as_deref().map(shortened),
        };
        let TrailEvent { schedule_id, event_type, event_id, .. } = *event;
        Self { schedule_id, event_type, event_id, facts: EventFacts::of(event), fields, row_status }
    }
}

impl Unknown {
    pub(super) fn event(event: &TrailEvent, reason: Reason) -> Self {
        Self {
            schedule_id: Some(event.schedule_id.to_string()),
            event_type: Some(event.event_type.as_str().to_owned()),
            event_id: Some(event.event_id.0.to_string()),
            facts: EventFacts::of(event),
            reason,
        }
    }

    /// As far as it can be read.
    pub(super) fn unreadable(message: &str) -> Self {
        let value: Value = serde_json::from_str(message).unwrap_or_default();
        let text = |name: &str| value[name].as_str().map(shortened);
        Self {
            schedule_id: text("schedule_id"),
            event_type: text("event_type"),
            event_id: text("event_id"),
            facts: EventFacts::read(|name| value.get(name)),
            reason: Reason::Unreadable,
        }
    }
}

impl Findings {
    pub(super) fn add_missing(&mut self, missing: Missing) {
        self.missing_count += 1;
        push(&mut self.missing, missing);
    }

    pub(super) fn add_unknown(&mut self, unknown: Unknown) {
        self.unknown_count += 1;
        push(&mut self.unknown, unknown);
    }

    pub(super) fn add_different(&mut self, different: Different) {
        self.different_count += 1;
        push(&mut self.different, different);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.undelivered += other.undelivered;
        self.missing_count += other.missing_count;
        self.unknown_count += other.unknown_count;
        self.different_count += other.different_count;
        other.missing.into_iter().for_each(|missing| push(&mut self.missing, missing));
        other.unknown.into_iter().for_each(|unknown| push(&mut self.unknown, unknown));
        other.different.into_iter().for_each(|different| push(&mut self.different, different));
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_LISTED {
        list.push(item);
    }
}

impl Verification {
    pub(super) fn new(range: TimeRange, resume: Option<Timestamp>, findings: Findings) -> Self {
        Self { from: range.from, to: range.to, complete: resume.is_none(), resume, findings }
    }

    /// Logs what is listed, so that the findings of a scheduled run can be read.
    pub fn log(&self) {
        for Missing { schedule_id, event_type, occurred_at, flag_key, environment } in &self.findings.missing
        {
            let event_type = event_type.as_str();
            let (flag_key, environment) = (flag_key.as_str(), environment.as_str());
            tracing::error!(%schedule_id, event_type, %occurred_at, flag_key, environment, "a transition has no audit event");
        }
        for Unknown { schedule_id, event_type, event_id, facts, reason } in &self.findings.unknown {
            let EventFacts { occurred_at, flag_key, environment } = facts;
            let reason = reason.as_str();
            tracing::error!(
                schedule_id,
                event_type,
                event_id,
                occurred_at,
                flag_key,
                environment,
                reason,
                "an audit event has no transition"
            );
        }
        for Different { schedule_id, event_type, event_id, facts, fields, row_status } in
            &self.findings.different
        {
            let EventFacts { occurred_at, flag_key, environment } = facts;
            let (event_type, event_id, fields) = (event_type.as_str(), event_id.0, fields.join(", "));
            tracing::error!(
                %schedule_id,
                event_type,
                %event_id,
                occurred_at,
                flag_key,
                environment,
                fields,
                row_status,
                "an audit event contradicts its schedule"
            );
        }
    }
}
