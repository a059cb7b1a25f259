//! The files of `events/`, which people paste into `sam local invoke`: each one works, once its placeholders are filled.

use std::collections::BTreeSet;

use harness::api::Api;
use harness::http::recorder::Recorder;
use harness::settings;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{FLAG, answer, api_with_flag};
use crate::support::in_seconds;

fn sample(name: &str) -> Value {
    let path = settings::workspace().join("events").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Puts a token where the sample asks for one.
fn with_token(api: &Api, name: &str) -> Value {
    let mut event = sample(name);
    assert_eq!(event["headers"]["authorization"], "Bearer REPLACE_WITH_A_TOKEN", "{name}");
    event["headers"]["authorization"] = json!(format!("Bearer {}", api.admin()));
    event
}

#[test]
fn every_sample_is_tried_here() {
    let folder =
        std::fs::read_dir(settings::workspace().join("events")).expect("there is a folder of samples");
    let names: BTreeSet<_> =
        folder.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8")).collect();

    let tried = [
        "cancel.json",
        "create.json",
        "get.json",
        "list-across-flags.json",
        "list.json",
        "migrate-custom-resource.json",
        "migrate.json",
        "tick.json",
        "verify-trail.json",
    ];
    assert_eq!(names, tried.map(str::to_owned).into());
}

#[tokio::test]
async fn the_sample_create_creates() {
    let (api, _) = api_with_flag().await;
    let mut event = with_token(&api, "create.json");
    let mut body: Value = serde_json::from_str(event["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(
        body["scheduled_at"], "2099-12-31T23:59:59Z",
        "a placeholder that nobody takes for a real time"
    );
    body["scheduled_at"] = json!(in_seconds(3600));
    event["body"] = json!(body.to_string());

    let created = answer(&api, "create-schedule", &event).await;

    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.json["updates"], body["updates"]);
    assert_eq!(created.json["reason"], body["reason"]);
    let events = api.events().await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["request"]["source_ip"], event["requestContext"]["http"]["sourceIp"]);
    assert_eq!(events[0]["request"]["request_id"], event["requestContext"]["requestId"]);
}

#[tokio::test]
async fn the_sample_list_lists() {
    let (api, _) = api_with_flag().await;

    let page = answer(&api, "list-schedules", &with_token(&api, "list.json")).await;

    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.json, json!({"schedules": [], "next_cursor": null}));
}

/// Stores the schedule that a sample names.
async fn store(api: &Api, flag: Uuid, event: &Value) -> Uuid {
    let id: Uuid =
        event["pathParameters"]["scheduleId"].as_str().and_then(|id| id.parse().ok()).expect("a UUID");
    let sql = "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates)
               values ($1, $2, now() + interval '1 hour', '{\"enabled\": true}')";
    api.database.connect().await.execute(sql, &[&id, &flag]).await.expect("the schedule of the sample");
    id
}

#[tokio::test]
async fn the_sample_get_gets_and_the_one_across_flags_lists() {
    let (api, flag) = api_with_flag().await;
    let event = with_token(&api, "get.json");
    let id = store(&api, flag, &event).await;

    let found = answer(&api, "list-schedules", &event).await;
    let listed = answer(&api, "list-schedules", &with_token(&api, "list-across-flags.json")).await;

    assert_eq!((found.status, &found.json["id"]), (200, &json!(id)), "{found:?}");
    assert_eq!((listed.status, &listed.json["schedules"]), (200, &json!([found.json])), "{listed:?}");
}

#[tokio::test]
async fn the_sample_cancel_cancels() {
    let (api, flag) = api_with_flag().await;
    let event = with_token(&api, "cancel.json");
    let id = store(&api, flag, &event).await;

    let cancelled = answer(&api, "cancel-schedule", &event).await;

    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(cancelled.json["id"], id.to_string());
    assert_eq!(cancelled.json["cancel_reason"], event["queryStringParameters"]["reason"]);
}

#[tokio::test]
async fn the_sample_tick_ticks() {
    let (api, flag) = api_with_flag().await;
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates) values ($1, now(), '{\"enabled\": true}')";
    api.database.connect().await.execute(sql, &[&flag]).await.expect("a schedule that is due");

    let report = api.function("schedule-processor").await.invoke(&sample("tick.json")).await.value();

    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(api.flag_state(FLAG, "production").await, (true, 0));
}

#[tokio::test]
async fn the_sample_verification_verifies() {
    let (api, _) = api_with_flag().await;

    let result = api.function("verify-trail").await.invoke(&sample("verify-trail.json")).await.value();

    assert_eq!((&result["complete"], &result["resume"]), (&json!(true), &Value::Null), "{result:#}");
}

#[tokio::test]
async fn the_sample_migrations_answer_whoever_asked() {
    let api = Api::start().await;
    let cloudformation = Recorder::answering(200, "").await;
    let mut resource = sample("migrate-custom-resource.json");
    let placeholder = resource["ResponseURL"].as_str().unwrap_or_default();
    assert!(placeholder.ends_with("/REPLACE_WITH_A_PRESIGNED_URL"), "{placeholder}");
    resource["ResponseURL"] = json!(cloudformation.url("/answer?signature=abc"));

    let migrate = api.function("migrate").await;
    let plain = migrate.invoke(&sample("migrate.json")).await.value();
    let custom = migrate.invoke(&resource).await.value();

    assert_eq!(plain["applied"], json!([]), "the database of a test is migrated already: {plain:#}");
    assert!(plain["schema_version"].is_string(), "{plain:#}");
    assert_eq!(custom["status"], "SUCCESS", "{custom:#}");
    let asked = cloudformation.asked();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert_eq!(format!("{} {}", asked[0].method, asked[0].target), "PUT /answer?signature=abc");
    assert_eq!(asked[0].body["Status"], "SUCCESS", "{asked:#?}");
    for key in ["StackId", "RequestId", "LogicalResourceId"] {
        assert_eq!(asked[0].body[key], resource[key], "{asked:#?}");
    }
}
