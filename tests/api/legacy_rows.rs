//! Rows from before the admin columns existed: null where there is nothing, and otherwise like any other.

use harness::api::Api;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{FLAG, KEYS, api_with_flag, assert_problem};
use crate::support::{only, text};

/// Stores a row as the table's first users did: the base columns only.
async fn legacy(api: &Api, flag: Uuid, hours_ahead: i32, status: &str, updates: &Value) -> String {
    let sql = "insert into feature_flag_schedules
                   (flag_id, scheduled_at, status, updates, applied_at, error_message, created_at, updated_at)
               values ($1, now() + make_interval(hours => $2), $3, $4,
                   case when $3 = 'applied' then now() end, case when $3 = 'failed' then 'it did not work' end,
                   now() - interval '1 year', now())
               returning id";
    let row = api.database.connect().await.query_one(sql, &[&flag, &hours_ahead, &status, updates]).await;
    row.unwrap_or_else(|error| panic!("no row: {error}")).get::<_, Uuid>(0).to_string()
}

#[tokio::test]
async fn old_rows_are_listed_with_nulls_and_in_todays_spelling() {
    let (api, flag) = api_with_flag().await;
    let cases = [
        ("failed", json!({"enabled": true, "colour": 1}), json!({"enabled": true, "colour": 1})),
        (
            "applied",
            json!({"enabled": false, "rolloutPercentage": 5}),
            json!({"enabled": false, "rollout_percentage": 5}),
        ),
        ("pending", json!({"rolloutPercentage": 30}), json!({"rollout_percentage": 30})),
        ("pending", json!({"enabled": true}), json!({"enabled": true})),
        ("cancelled", json!("nonsense"), json!("nonsense")),
    ];
    for (hours, (status, stored, _)) in (-2..).zip(&cases) {
        legacy(&api, flag, hours, status, stored).await;
    }

    let page = api.list(&api.admin(), FLAG, "").await;

    assert_eq!(page.status, 200, "{page:?}");
    let schedules = page.json["schedules"].as_array().expect("a list");
    assert_eq!(schedules.len(), cases.len());
    for (schedule, (status, _, shown)) in schedules.iter().zip(&cases) {
        let keys: Vec<_> = schedule.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, KEYS, "{schedule:#}");
        assert_eq!((&schedule["status"], &schedule["updates"]), (&json!(status), shown), "{schedule:#}");
        for key in
            ["apply_by", "reason", "created_by", "cancelled_at", "cancelled_by", "cancel_reason", "failed_at"]
        {
            assert_eq!(schedule[key], Value::Null, "{key}: {schedule:#}");
        }
        assert_eq!(schedule["applied_at"].is_string(), *status == "applied", "{schedule:#}");
    }
    assert_eq!(schedules[0]["error_message"], "it did not work");
    assert_eq!(schedules[0]["error_code"], Value::Null);
}

#[tokio::test]
async fn an_old_row_can_be_cancelled_and_who_created_it_stays_unknown() {
    let (api, flag) = api_with_flag().await;
    let id = legacy(&api, flag, 1, "pending", &json!({"rolloutPercentage": 30})).await;
    let failed = legacy(&api, flag, 2, "failed", &json!({"enabled": true})).await;

    let cancelled = api.cancel(&api.admin(), FLAG, &id, "").await;
    let refused = api.cancel(&api.admin(), FLAG, &failed, "").await;

    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(cancelled.json["status"], "cancelled");
    assert_eq!(cancelled.json["cancelled_by"], "admin-1");
    assert_eq!(cancelled.json["created_by"], Value::Null);
    assert_eq!(cancelled.json["updates"], json!({"rollout_percentage": 30}));
    assert_problem(&refused, 409, "schedule_not_pending", "an old row that failed");
    assert_eq!(refused.json["schedule"]["error_message"], "it did not work");
    let events = api.events().await;
    let event = only(&events, "flag_schedule.cancelled");
    assert_eq!(event["schedule_id"], id.as_str());
    assert_eq!(event["schedule"]["created_by"], Value::Null);
    assert_eq!(event["schedule"]["updates"], json!({"rollout_percentage": 30}));
}

#[tokio::test]
async fn an_old_row_is_applied_when_it_is_due_and_a_bad_one_fails_alone() {
    let (api, flag) = api_with_flag().await;
    let good = legacy(&api, flag, -2, "pending", &json!({"enabled": true, "rolloutPercentage": 30})).await;
    let bad = legacy(&api, flag, -1, "pending", &json!({"rolloutPercentage": 40, "colour": "red"})).await;

    let report = api.tick().await.value();

    assert_eq!((&report["applied"], &report["failed_invalid_updates"]), (&json!(1), &json!(1)), "{report:#}");
    assert_eq!(api.flag_state(FLAG, "production").await, (true, 30));
    let page = api.list(&api.admin(), FLAG, "").await;
    let (first, second) = (&page.json["schedules"][0], &page.json["schedules"][1]);
    assert_eq!((text(first, "id"), text(first, "status")), (good.as_str(), "applied"));
    assert!(first["applied_at"].is_string(), "{first:#}");
    assert_eq!((text(second, "id"), text(second, "status")), (bad.as_str(), "failed"));
    assert_eq!(second["error_code"], "invalid_updates");
    let events = api.events().await;
    let applied = only(&events, "flag_schedule.applied");
    assert_eq!(applied["change"]["after"], json!({"enabled": true, "rollout_percentage": 30}));
    assert_eq!(applied["schedule"]["created_by"], Value::Null);
    assert_eq!(only(&events, "flag_schedule.failed")["error"]["code"], "invalid_updates");
}
