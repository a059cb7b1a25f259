//! Each type of event, each field of it.

use serde_json::{Value, json};

use super::*;
use crate::domain::admin::Admin;

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn schedule() -> Schedule {
    Schedule {
        id: ScheduleId(Uuid::from_u128(1)),
        flag_key: FlagKey::parse("new-checkout".to_owned()).unwrap(),
        environment: Environment::default(),
        scheduled_at: time("2026-02-09T09:00:00Z"),
        apply_by: None,
        status: crate::domain::schedule::StoredStatus::Known(crate::domain::schedule::Status::Pending),
        updates: json!({"rolloutPercentage": 20}).into(),
        expect: Some(json!({"enabled": false}).into()),
        reason: Some("line one\nline \"two\" \u{1b}[31m \u{202e}".to_owned()),
        created_at: Some(time("2026-02-08T12:00:00.001Z")),
        created_by: Some("admin-a".to_owned()),
        cancelled_at: None,
        cancelled_by: None,
        cancel_reason: None,
        applied_at: None,
        failed_at: None,
        error_code: None,
        error_message: None,
    }
}

fn caller() -> Caller {
    Caller {
        admin: Admin { user_id: "admin-b".to_owned(), email: None },
        call: CallContext {
            request_id: "req-1".to_owned(),
            source_ip: Some("192.0.2.1".to_owned()),
            user_agent: None,
        },
    }
}

fn render(event_type: EventType, context: EventContext, schedule: &Schedule) -> Value {
    let event = AuditEvent::of(EventId(Uuid::from_u128(2)), event_type, context, schedule).unwrap();
    serde_json::to_value(event).unwrap()
}

#[test]
fn created_says_who_what_when_and_from_where() {
    let event = render(EventType::Created, EventContext::of_admin(&caller()), &schedule());

    assert_eq!(
        event,
        json!({
            "schema_version": 2,
            "event_id": Uuid::from_u128(2),
            "event_type": "flag_schedule.created",
            "level": "INFO",
            "occurred_at": "2026-02-08T12:00:00.001Z",
            "schedule_id": Uuid::from_u128(1),
            "flag_key": "new-checkout",
            "environment": "production",
            "actor": {"type": "admin", "user_id": "admin-b", "email": null},
            "schedule": {
                "scheduled_at": "2026-02-09T09:00:00.000Z",
                "apply_by": null,
                "updates": {"rollout_percentage": 20},
                "expect": {"enabled": false},
                "reason": "line one\nline \"two\" \u{1b}[31m \u{202e}",
                "created_by": "admin-a",
                "created_at": "2026-02-08T12:00:00.001Z",
            },
            "request": {"request_id": "req-1", "source_ip": "192.0.2.1", "user_agent": null},
        })
    );
}

#[test]
fn an_event_is_one_line_whatever_was_typed() {
    let event =
        AuditEvent::of(EventId::new(), EventType::Created, EventContext::of_admin(&caller()), &schedule());

    let line = serde_json::to_string(&event.unwrap()).unwrap();

    assert!(!line.chars().any(char::is_control), "a control character is left in {line:?}");
}

#[test]
fn cancelled_has_its_own_actor_and_reason_and_keeps_the_creator() {
    let cancelled = Schedule {
        cancelled_at: Some(time("2026-02-08T13:00:00Z")),
        cancelled_by: Some("admin-b".to_owned()),
        cancel_reason: Some("not yet".to_owned()),
        ..schedule()
    };

    let event = render(EventType::Cancelled, EventContext::of_admin(&caller()), &cancelled);

    assert_eq!(event["occurred_at"], "2026-02-08T13:00:00.000Z");
    assert_eq!(event["actor"]["user_id"], "admin-b");
    assert_eq!(event["schedule"]["created_by"], "admin-a");
    assert_eq!(event["cancel_reason"], "not yet");
    assert_eq!(event.get("change"), None);
    assert_eq!(event.get("lateness_ms"), None);
}

#[test]
fn a_cancel_without_a_reason_says_so() {
    let cancelled = Schedule { cancelled_at: Some(time("2026-02-08T13:00:00Z")), ..schedule() };

    let event = render(EventType::Cancelled, EventContext::of_admin(&caller()), &cancelled);

    assert_eq!(event.get("cancel_reason"), Some(&Value::Null));
}

#[test]
fn applied_names_the_system_the_change_and_how_late_it_was() {
    let change = FlagChange {
        before: FlagState { enabled: false, rollout_percentage: 0 },
        after: FlagState { enabled: false, rollout_percentage: 20 },
    };
    let applied = Schedule { applied_at: Some(time("2026-02-09T09:00:01.5Z")), ..schedule() };
    let context = EventContext { change: Some(change), ..EventContext::of_processor("tick-1") };

    let event = render(EventType::Applied, context, &applied);

    assert_eq!(event["actor"], json!({"type": "system", "name": "schedule-processor"}));
    assert_eq!(event["request"], json!({"request_id": "tick-1"}));
    assert_eq!(event["lateness_ms"], 1500);
    assert_eq!(event["change"]["before"], json!({"enabled": false, "rollout_percentage": 0}));
    assert_eq!(event["change"]["after"], json!({"enabled": false, "rollout_percentage": 20}));
    assert_eq!(event["level"], "INFO");
    assert_eq!(event.get("error"), None);
}

#[test]
fn failed_is_an_error_with_a_code_and_shows_the_stored_updates() {
    let failed = Schedule {
        failed_at: Some(time("2026-02-09T09:00:00Z")),
        error_code: Some("invalid_updates".to_owned()),
        error_message: Some("`colour` is not a known field".to_owned()),
        updates: json!({"colour": [1]}).into(),
        ..schedule()
    };

    let state = Some(FlagState { enabled: true, rollout_percentage: 7 });
    let context = EventContext { state, ..EventContext::of_processor("tick-1") };
    let event = render(EventType::Failed, context, &failed);

    assert_eq!(event["level"], "ERROR");
    assert_eq!(event["state"], json!({"enabled": true, "rollout_percentage": 7}));
    assert_eq!(
        event["error"],
        json!({"code": "invalid_updates", "message": "`colour` is not a known field"})
    );
    assert_eq!(event["schedule"]["updates"], json!({"colour": [1]}));
    assert_eq!(event["lateness_ms"], 0);
    assert_eq!(event.get("change"), None);
}

/// An outbox row of the release before: neither its document nor its context knows what came later.
#[test]
fn a_failure_that_was_recorded_before_states_were_has_none() {
    let mut row = json!({
        "id": Uuid::from_u128(1), "flag_key": "a", "environment": "b", "scheduled_at": "2026-02-09T09:00:00+00:00",
        "status": "failed", "updates": {"enabled": true}, "failed_at": "2026-02-09T09:00:00+00:00", "error_code": "expired",
    });
    let context =
        json!({"actor": {"type": "system", "name": "schedule-processor"}, "request": {"request_id": "t"}});
    let context: EventContext = serde_json::from_value(context).unwrap();

    let event = render(EventType::Failed, context.clone(), &serde_json::from_value(row.clone()).unwrap());

    assert_eq!(event.get("state"), Some(&Value::Null));
    assert_eq!(event["schedule"].get("expect"), Some(&Value::Null));
    row["expect"] = Value::Null;
    assert_eq!(render(EventType::Failed, context, &serde_json::from_value(row).unwrap()), event);
}

#[test]
fn an_event_without_its_facts_is_refused() {
    let render = |event_type| {
        AuditEvent::of(EventId::new(), event_type, EventContext::of_processor("t"), &schedule()).map(|_| ())
    };

    assert_eq!(render(EventType::Cancelled), Err(IncompleteEvent("cancelled_at")));
    assert_eq!(render(EventType::Applied), Err(IncompleteEvent("applied_at")));
    assert_eq!(render(EventType::Failed), Err(IncompleteEvent("failed_at")));
}

#[test]
fn a_context_survives_the_outbox() {
    let state = Some(FlagState { enabled: true, rollout_percentage: 7 });
    let failed = EventContext { state, ..EventContext::of_processor("tick-1") };
    for context in [EventContext::of_admin(&caller()), EventContext::of_processor("tick-1"), failed] {
        let stored = serde_json::to_value(&context).unwrap();

        assert_eq!(serde_json::from_value::<EventContext>(stored).unwrap(), context);
    }
}
