//! What is due is applied once, in order; what is bad fails alone.

use std::time::Duration;

use harness::api::Api;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{A_MOMENT, LIMIT, of_type, only, text, turn_on, with_updates};

/// Stores a schedule as another tool could have: whatever `updates`, due since `ago` seconds.
async fn stored(api: &Api, flag: Uuid, updates: Value, ago: i32) -> Uuid {
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        values ($1, now() - make_interval(secs => $2), $3) returning id";
    let client = api.database.connect().await;
    client.query_one(sql, &[&flag, &f64::from(ago), &updates]).await.unwrap().get(0)
}

async fn row(api: &Api, id: Uuid) -> (String, Option<String>, Option<String>) {
    let sql = "select status, error_code, error_message from feature_flag_schedules where id = $1";
    let row = api.database.connect().await.query_one(sql, &[&id]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn stored_updates_that_cannot_be_read_fail_with_a_reason_and_harm_no_other() {
    let api = Api::start().await;
    let flag = api.flag("a", "production").await;
    let other = api.flag("b", "production").await;
    let bad = [
        (json!("on"), "must be an object"),
        (json!({}), "must have `enabled`"),
        (json!({"enabled": "yes"}), "`enabled` must be true or false"),
        (json!({"rollout_percentage": 250}), "`rollout_percentage` must be an integer from 0 to 100"),
        (json!({"colour": "red"}), "`colour` is not a known field"),
    ];
    let mut failing = Vec::new();
    for (updates, reason) in bad {
        failing.push((stored(&api, flag, updates, 60).await, reason));
    }
    let good = stored(&api, flag, json!({"rolloutPercentage": 40}), 30).await;
    stored(&api, other, json!({"enabled": true}), 60).await;

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 2, "{report:#}");
    assert_eq!(report["failed_invalid_updates"], 5, "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (false, 40));
    assert_eq!(api.flag_state("b", "production").await, (true, 0));
    let events = api.events().await;
    assert_eq!(of_type(&events, "flag_schedule.failed").len(), 5);
    for (id, reason) in failing {
        let (status, code, message) = row(&api, id).await;
        assert_eq!((status.as_str(), code.as_deref()), ("failed", Some("invalid_updates")));
        assert!(
            message.as_deref().is_some_and(|message| message.contains(reason)),
            "{message:?} lacks {reason:?}"
        );
        let event = events.iter().find(|event| event["schedule_id"] == json!(id)).unwrap();
        assert_eq!(event["level"], "ERROR");
        assert_eq!(event["error"]["code"], "invalid_updates");
    }
    assert_eq!(row(&api, good).await.0, "applied");
}

#[tokio::test]
async fn stored_updates_nested_too_deep_to_be_read_fail_and_harm_no_other() {
    let api = Api::start().await;
    let flag = api.flag("a", "production").await;
    let other = api.flag("b", "production").await;
    let deep = stored(&api, flag, json!({}), 60).await;
    let sql = "update feature_flag_schedules set updates = (repeat('[', 200) || repeat(']', 200))::jsonb where id = $1";
    api.database.connect().await.execute(sql, &[&deep]).await.unwrap();
    stored(&api, other, json!({"enabled": true}), 60).await;

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(report["failed_invalid_updates"], 1, "{report:#}");
    assert_eq!(api.flag_state("b", "production").await, (true, 0));
    assert_eq!(row(&api, deep).await.0, "failed");
    // What it was can still be read, as text.
    let text = "[".repeat(200) + &"]".repeat(200);
    let listed = api.list(&api.admin(), "a", "").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    assert_eq!(listed.json["schedules"][0]["updates"], text);
    let events = api.events().await;
    assert_eq!(only(&events, "flag_schedule.failed")["schedule"]["updates"], text);
}

#[tokio::test]
async fn two_schedules_of_one_flag_due_together_are_applied_in_their_order() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let later = api.create(&api.admin(), "a", "", &with_updates(&json!({"rollout_percentage": 80}))).await;
    let earlier = api
        .create(&api.admin(), "a", "", &with_updates(&json!({"rollout_percentage": 20, "enabled": true})))
        .await;
    api.make_due(text(&later.json, "id"), Duration::from_secs(10)).await;
    api.make_due(text(&earlier.json, "id"), Duration::from_secs(20)).await;

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 2, "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (true, 80));
    let events = api.events().await;
    let change = |id: &str| {
        let applied = of_type(&events, "flag_schedule.applied");
        applied.into_iter().find(|event| event["schedule_id"] == id).map(|event| event["change"].clone())
    };
    let state =
        |enabled: bool, percentage: i32| json!({"enabled": enabled, "rollout_percentage": percentage});
    assert_eq!(
        change(text(&earlier.json, "id")),
        Some(json!({"before": state(false, 0), "after": state(true, 20)}))
    );
    assert_eq!(
        change(text(&later.json, "id")),
        Some(json!({"before": state(true, 20), "after": state(true, 80)})),
        "it starts where the one before it ended"
    );
}

#[tokio::test]
async fn what_is_past_its_apply_by_fails_as_expired_and_changes_nothing() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let body = json!({
        "scheduled_at": crate::support::in_seconds(600),
        "apply_by": crate::support::in_seconds(1200),
        "updates": {"enabled": true},
    });
    let created = api.create(&api.admin(), "a", "", &body).await;
    let id: Uuid = text(&created.json, "id").parse().unwrap();
    let sql = "update feature_flag_schedules
        set scheduled_at = now() - interval '3 hours', apply_by = now() - interval '2 hours' where id = $1";
    api.database.connect().await.execute(sql, &[&id]).await.unwrap();

    let report = api.tick().await.value();

    assert_eq!(report["failed_expired"], 1, "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (false, 0));
    let events = api.events().await;
    let event = only(&events, "flag_schedule.failed");
    assert_eq!(event["error"]["code"], "expired");
    assert!(event["lateness_ms"].as_i64().is_some_and(|late| late >= 3 * 3600 * 1000), "{event:#}");
}

#[tokio::test]
async fn what_the_database_rejects_fails_alone_with_its_words() {
    let api = Api::start().await;
    for key in ["a", "b", "c", "d", "e"] {
        api.flag(key, "production").await;
    }
    let client = api.database.connect().await;
    client
        .batch_execute(
            "create function guard() returns trigger language plpgsql as $$
             begin
                 if new.flag_key = 'c' and new.rollout_percentage > 50 then raise exception 'c is frozen above 50'; end if;
                 return new;
             end $$;
             create trigger guard before update on feature_flags for each row execute function guard();",
        )
        .await
        .unwrap();
    for key in ["a", "b", "c", "d", "e"] {
        for (percentage, ago) in [(30, 30), (45, 20), (40, 10)] {
            let body = with_updates(&json!({"rollout_percentage": percentage}));
            let created = api.create(&api.admin(), key, "", &body).await;
            api.make_due(text(&created.json, "id"), Duration::from_secs(ago)).await;
        }
    }
    let last = api.create(&api.admin(), "c", "", &with_updates(&json!({"rollout_percentage": 60}))).await;
    api.make_due(text(&last.json, "id"), A_MOMENT).await;

    let report = api.tick().await.value();

    assert_eq!(report["failed_rejected_by_database"], 1, "{report:#}");
    assert_eq!(report["applied"], 15, "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (false, 40));
    assert_eq!(api.flag_state("c", "production").await, (false, 40), "only the last change of c is refused");
    let events = api.events().await;
    let event = only(&events, "flag_schedule.failed");
    assert_eq!(event["schedule_id"], text(&last.json, "id"));
    assert_eq!(event["error"]["code"], "rejected_by_database");
    assert!(text(&event["error"], "message").contains("c is frozen above 50"), "{event:#}");
}

#[tokio::test]
async fn a_tick_that_can_do_nothing_fails_by_name() {
    let api = Api::with()
        .env("schedule-processor", "DATABASE_URL", Some("postgres://u:secret@127.0.0.1:9/d"))
        .start()
        .await;

    let tick = api.tick().await;

    let error = tick.error();
    assert_eq!(error.error_type, "DatabaseUnavailable");
    assert!(!error.message.contains("secret"), "{}", error.message);
}

#[tokio::test]
async fn an_idle_tick_says_so() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    api.create(&api.admin(), "a", "", &turn_on()).await;
    api.settle().await;

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 0, "{report:#}");
    assert_eq!(report["still_due"], 0, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    let processor = api.function("schedule-processor").await;
    let line = processor.wait_for_log(|line| line.contains("CloudWatchMetrics"), LIMIT).await;
    let metrics: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(metrics["SchedulesApplied"], 0);
    assert_eq!(metrics["FunctionName"], "schedule-processor");
}
