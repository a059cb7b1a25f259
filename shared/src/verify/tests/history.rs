//! Schedules with their events, as the service leaves them.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::admin::{Admin, CallContext, Caller};
use crate::domain::audit_event::{AuditEvent, EventContext, EventDraft, EventId, EventType, FlagChange};
use crate::domain::flag::FlagState;
use crate::domain::schedule::{Schedule, ScheduleId, Status, StoredStatus};
use crate::domain::time::Timestamp;

pub const HOUR_MS: i64 = 3_600_000;

/// What happened to one schedule.
#[derive(Debug, Clone)]
pub struct Story {
    /// Milliseconds after the window's start.
    pub created_after: i64,
    pub lasted: i64,
    pub end: Option<EventType>,
    pub updates: Value,
    pub expect: Option<Value>,
    pub reason: Option<String>,
    pub delivery: [Delivery; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Once,
    Twice,
    /// Under the time of sending.
    Late,
    Outbox,
    /// Stored, but the response was lost.
    StoredAndOutbox,
}

pub fn story() -> impl Strategy<Value = Story> {
    let end = prop_oneof![
        1 => Just(None),
        1 => Just(Some(EventType::Cancelled)),
        2 => Just(Some(EventType::Applied)),
        1 => Just(Some(EventType::Failed)),
    ];
    let updates = prop_oneof![
        Just(json!({"enabled": true})),
        Just(json!({"rollout_percentage": 25})),
        Just(json!({"enabled": false, "rolloutPercentage": 100})),
    ];
    let delivery = || {
        prop_oneof![
            4 => Just(Delivery::Once),
            1 => Just(Delivery::Twice),
            1 => Just(Delivery::Late),
            1 => Just(Delivery::Outbox),
            1 => Just(Delivery::StoredAndOutbox),
        ]
    };
    // Few times, so that many events share a millisecond.
    let time = prop_oneof![0..20i64, 0..10 * HOUR_MS];
    let reason = proptest::option::of("[a-z\"\\\\\n]{0,10}");
    let expect = proptest::option::of(Just(json!({"enabled": false})));
    (time.clone(), time, end, (updates, expect), reason, [delivery(), delivery()]).prop_map(
        |(created_after, lasted, end, (updates, expect), reason, delivery)| Story {
            created_after,
            lasted,
            end,
            updates,
            expect,
            reason,
            delivery,
        },
    )
}

/// The row in the end.
pub fn row(index: usize, story: &Story, start: Timestamp) -> Schedule {
    let created = start.plus_millis(story.created_after);
    let ended = created.plus_millis(story.lasted);
    let at = |event_type: EventType| (story.end == Some(event_type)).then_some(ended);
    let by = |event_type: EventType, text: &str| at(event_type).map(|_| format!("{text}-{index}"));
    let status = match story.end {
        Some(EventType::Cancelled) => Status::Cancelled,
        Some(EventType::Applied) => Status::Applied,
        Some(EventType::Failed) => Status::Failed,
        _ => Status::Pending,
    };
    let flag: Value = json!(format!("flag-{}", index % 3));
    Schedule {
        id: ScheduleId(Uuid::from_u128(0x0197_c2f0_6a5b_7c3d_8e4f_0000_0000_0000 + index as u128)),
        flag_key: serde_json::from_value(flag).unwrap(),
        environment: Default::default(),
        scheduled_at: ended.plus_millis(-5),
        apply_by: None,
        status: StoredStatus::Known(status),
        updates: story.updates.clone().into(),
        expect: story.expect.clone().map(Into::into),
        reason: story.reason.clone(),
        created_at: Some(created),
        created_by: Some(format!("creator-{index}")),
        cancelled_at: at(EventType::Cancelled),
        cancelled_by: by(EventType::Cancelled, "canceller"),
        cancel_reason: by(EventType::Cancelled, "because"),
        applied_at: at(EventType::Applied),
        failed_at: at(EventType::Failed),
        error_code: at(EventType::Failed).map(|_| "expired".to_owned()),
        error_message: by(EventType::Failed, "too late"),
    }
}

/// The event as the service renders it.
pub fn event(row: &Schedule, event_type: EventType) -> AuditEvent {
    let user_id = match event_type {
        EventType::Created => row.created_by.clone(),
        _ => row.cancelled_by.clone(),
    };
    let call = CallContext { request_id: "r-1".to_owned(), source_ip: None, user_agent: None };
    let email = Some("ana@example.com".to_owned());
    let caller = Caller { admin: Admin { user_id: user_id.unwrap_or_default(), email }, call };
    let context = match event_type {
        EventType::Created | EventType::Cancelled => EventContext::of_admin(&caller),
        EventType::Failed => {
            let state = Some(FlagState { enabled: true, rollout_percentage: 1 });
            EventContext { state, ..EventContext::of_processor("t-1") }
        }
        EventType::Applied => {
            let updates = serde_json::to_value(&row.updates).unwrap();
            let before = FlagState { enabled: false, rollout_percentage: 1 };
            let after = FlagState {
                enabled: updates["enabled"].as_bool().unwrap_or(before.enabled),
                rollout_percentage: updates["rollout_percentage"]
                    .as_i64()
                    .map_or(before.rollout_percentage, |percentage| i32::try_from(percentage).unwrap()),
            };
            let change = Some(FlagChange { before, after });
            EventContext { change, ..EventContext::of_processor("t-1") }
        }
    };
    EventDraft { id: EventId::new(), event_type, context }.complete(row).unwrap()
}
