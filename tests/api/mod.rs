//! The HTTP contract, met by the functions as they are deployed: what is answered, and what is written or not.

mod across_flags;
mod addressing;
mod authentication;
mod authorization;
mod bad_tokens;
mod bodies;
mod cancel;
mod create;
mod expectations;
mod find;
mod function_settings;
mod key_server;
mod legacy_rows;
mod list;
mod paging;
mod problems;
mod samples;
mod snapshots;

use std::time::Duration;

use harness::api::Api;
use harness::gateway::Response;
use serde_json::{Value, json};
use uuid::Uuid;

/// The flag of most tests.
const FLAG: &str = "new-checkout";

/// Every key of a schedule, in alphabetical order.
pub const KEYS: [&str; 18] = [
    "applied_at",
    "apply_by",
    "cancel_reason",
    "cancelled_at",
    "cancelled_by",
    "created_at",
    "created_by",
    "environment",
    "error_code",
    "error_message",
    "expect",
    "failed_at",
    "flag_key",
    "id",
    "reason",
    "scheduled_at",
    "status",
    "updates",
];

/// The usual service with the flag of most tests.
async fn api_with_flag() -> (Api, Uuid) {
    let api = Api::start().await;
    let flag = api.flag(FLAG, "production").await;
    (api, flag)
}

/// Sends an event as it is to a function.
async fn answer(api: &Api, function: &str, event: &Value) -> Response {
    Response::of(api.function(function).await.invoke(event).await)
}

/// All that the service has written so far: the schedules as they stand, the outbox, and the events delivered from it.
async fn written(api: &Api) -> Value {
    let events = api.events().await.len();
    let sql = "select
        (select coalesce(jsonb_agg(to_jsonb(s) order by s.id), '[]') from feature_flag_schedules s),
        (select count(*) from audit_outbox)";
    let row = api.database.connect().await.query_one(sql, &[]).await.expect("both tables are there");
    json!({"schedules": row.get::<_, Value>(0), "outbox": row.get::<_, i64>(1), "events": events})
}

/// What a function's log says about an answer of it, as soon as it is there.
pub async fn logged(api: &Api, function: &str, response: &Response) -> Value {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let id = &response.json["request_id"];
    let fits = |line: &str| parse(line)["request_id"] == *id && parse(line)["status"] == response.status;
    parse(&api.function(function).await.wait_for_log(fits, Duration::from_secs(10)).await)
}

/// Checks what all problem documents have in common, and the status and code of this one.
#[track_caller]
fn assert_problem(response: &Response, status: u16, code: &str, case: &str) {
    let document = &response.json;
    assert_eq!(response.status, status, "{case}: {response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{case}: {response:?}");
    assert_eq!(document["status"], status, "{case}: {document:#}");
    assert_eq!(document["code"], code, "{case}: {document:#}");
    assert_eq!(document["type"], format!("urn:flag-schedules:problem:{code}"), "{case}: {document:#}");
    for member in ["title", "detail", "request_id"] {
        assert!(
            document[member].as_str().is_some_and(|text| !text.is_empty()),
            "{case}, {member}: {document:#}"
        );
    }
}

/// Where in the body the faults of a refused request lie, in alphabetical order.
fn pointers(response: &Response) -> Vec<&str> {
    places(response, "pointer")
}

/// Which parameters of a refused request are at fault, in alphabetical order.
fn parameters(response: &Response) -> Vec<&str> {
    places(response, "parameter")
}

fn places<'a>(response: &'a Response, kind: &str) -> Vec<&'a str> {
    let faults = response.json["errors"].as_array().into_iter().flatten();
    let mut places: Vec<_> = faults.filter_map(|fault| fault[kind].as_str()).collect();
    places.sort_unstable();
    places
}

/// The answer without its request id, to be compared with another one.
fn but_for_the_request_id(response: &Response) -> Value {
    let mut body = response.json.clone();
    let id = body.as_object_mut().and_then(|body| body.remove("request_id"));
    assert!(id.is_some_and(|id| id.is_string()), "there is no request id: {response:?}");
    json!({"status": response.status, "headers": response.headers, "body": body})
}
