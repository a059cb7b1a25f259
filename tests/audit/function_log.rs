//! What the functions' own logs say of a success: enough to tell a genuine event or row from a forged one, and no more.

use std::time::Duration;

use harness::api::{Api, cancel_request, create_request};
use serde_json::{Value, json};

use crate::support::{A_MOMENT, only, text, turn_on};

/// The lines with a message, of which there is one.
async fn lines(api: &Api, function: &str, message: &str) -> Vec<Value> {
    let function = api.function(function).await;
    function.wait_for_log(|line| line.contains(message), Duration::from_secs(10)).await;
    let logs = function.logs();
    let lines = logs.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn a_create_and_a_cancel_are_each_one_line_with_the_ids_of_their_event() {
    let api = Api::start().await;
    api.flag("new-checkout", "production").await;
    let token = api.token().user("anna").claim("email", "anna@example.com").sign();
    let mut body = turn_on();
    body["reason"] = json!("first users");
    let create = create_request("new-checkout", "", &body).bearer(&token).header("idempotency-key", "k");

    let created = api.send(&create.clone().request_id("create-1")).await;
    let replayed = api.send(&create.request_id("create-2")).await;
    let id = text(&created.json, "id").to_owned();
    let cancel = cancel_request("new-checkout", &id, "reason=not%20yet");
    let cancelled = api.send(&cancel.clone().bearer(&token).request_id("cancel-1")).await;
    let bens = api.token().user("ben").sign();
    let refused = api.send(&cancel.bearer(&bens).request_id("cancel-2")).await;

    let statuses = [created.status, replayed.status, cancelled.status, refused.status];
    assert_eq!(statuses, [201, 200, 200, 409]);
    let events = api.events().await;
    for (function, event_type, request_id) in [
        ("create-schedule", "flag_schedule.created", "create-1"),
        ("cancel-schedule", "flag_schedule.cancelled", "cancel-1"),
    ] {
        let found = lines(&api, function, "the change was committed").await;
        assert_eq!(found.len(), 1, "neither a replay nor a refusal changes anything: {found:#?}");
        let (line, event) = (&found[0], only(&events, event_type));
        assert_eq!((&line["level"], &line["event_type"]), (&json!("INFO"), &json!(event_type)), "{line:#}");
        assert_eq!((&line["schedule_id"], &line["event_id"]), (&json!(id), &event["event_id"]), "{line:#}");
        assert_eq!(
            (&line["request_id"], &event["request"]["request_id"]),
            (&json!(request_id), &json!(request_id))
        );
        let logs = api.function(function).await.logs().concat();
        for typed in [&token, "anna", "first users", "not yet"] {
            assert!(!logs.contains(typed), "{function} logs {typed:?}");
        }
    }
}

#[tokio::test]
async fn a_tick_that_ended_schedules_is_one_line_with_their_number_and_the_request_id_of_their_events() {
    let api = Api::start().await;
    for key in ["a", "b", "c"] {
        api.flag(key, "production").await;
        let created = api.create(&api.admin(), key, "", &turn_on()).await;
        api.make_due(text(&created.json, "id"), A_MOMENT).await;
    }
    let expire = "update feature_flag_schedules set apply_by = scheduled_at
        where flag_id = (select id from feature_flags where flag_key = 'c')";
    api.database.connect().await.batch_execute(expire).await.unwrap();

    api.tick().await.value();
    api.tick().await.value();

    let found = lines(&api, "schedule-processor", "the tick ended schedules").await;
    assert_eq!(found.len(), 1, "an idle tick says nothing: {found:#?}");
    let line = &found[0];
    assert_eq!((&line["level"], &line["applied"], &line["failed"]), (&json!("INFO"), &json!(2), &json!(1)));
    let events = api.events().await;
    let of_this_tick = events.iter().filter(|event| event["request"]["request_id"] == line["request_id"]);
    assert_eq!(of_this_tick.count(), 3, "{line:#}\n{events:#?}");
}

/// So that a line leads to its deployment, and to the other lines and the trace of its invocation.
#[tokio::test]
async fn every_line_of_an_invocation_names_release_request_and_trace() {
    let api = Api::with().env_everywhere("RELEASE_NAME", Some("1.4.2")).start().await;
    api.flag("new-checkout", "production").await;
    let created = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;
    api.list("no token", "new-checkout", "").await;
    api.tick().await.value();

    for (function, message) in [
        ("create-schedule", "the change was committed"),
        ("list-schedules", "the request was refused"),
        ("schedule-processor", "the tick ended schedules"),
    ] {
        let line = &lines(&api, function, message).await[0];
        assert_eq!(line["release"], "1.4.2", "{line:#}");
        assert!(line["span"]["requestId"].as_str().is_some_and(|id| id.len() == 36), "{line:#}");
        assert!(line["span"]["xrayTraceId"].as_str().is_some_and(|id| id.starts_with("Root=")), "{line:#}");
    }
}
