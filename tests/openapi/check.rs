//! The check that every answer passes through can fail: each kind of lie is told.

use harness::api::{create_request, list_request};
use harness::gateway::Request;
use harness::openapi;
use serde_json::{Value, json};

use crate::support::turn_on;

/// An answer that the description allows to a create.
fn created() -> Value {
    let schedule = openapi::document().root().pointer("/components/examples/pending/value").unwrap();
    json!({
        "statusCode": 201,
        "headers": {
            "content-type": "application/json",
            "cache-control": "no-store",
            "location": "schedule/019c9f69-1afa-7c3e-9d52-6b1f0e8a4c27",
        },
        "body": schedule.to_string(),
        "isBase64Encoded": false,
    })
}

/// The same with something else in its body.
fn with_body(change: impl FnOnce(&mut Value)) -> Value {
    let mut answer = created();
    let mut body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    change(&mut body);
    answer["body"] = json!(body.to_string());
    answer
}

/// The same with something else around its body.
fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut answer = created();
    change(&mut answer);
    answer
}

#[track_caller]
fn assert_told(request: &Request, answer: &Value, expected: &str) {
    let faults = openapi::faults_of("create-schedule", &request.event(), answer);

    assert_eq!(faults.len(), 1, "expected one fault about {expected:?}, got {faults:#?}");
    assert!(faults[0].contains(expected), "expected a fault about {expected:?}, got {faults:#?}");
}

#[test]
fn an_answer_as_described_is_passed() {
    let request = create_request("new-checkout", "environment=staging", &turn_on());

    let faults = openapi::faults_of("create-schedule", &request.event(), &created());

    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn an_answer_that_is_not_described_is_told() {
    let request = create_request("new-checkout", "", &turn_on());
    let told = |answer: &Value, expected: &str| assert_told(&request, answer, expected);

    told(&with(|answer| answer["statusCode"] = json!(202)), "the status is 202; described are 200, 201, 400");
    told(&with(|answer| answer["statusCode"] = json!(429)), "the status is 429; described are 200, 201, 400");
    told(&with(|answer| answer["headers"]["content-type"] = json!("text/html")), "the content type is");
    told(&with(|answer| answer["headers"]["x-trace"] = json!("1")), "the header x-trace is not described");
    told(&with(|answer| answer["headers"]["cache-control"] = json!("public")), "the header cache-control");
    told(
        &with(|answer| drop(answer["headers"].as_object_mut().unwrap().remove("location"))),
        "location is missing",
    );
    told(&with(|answer| answer["body"] = json!("")), "the body is not JSON");
    told(&with_body(|body| body["colour"] = json!("red")), "colour");
    told(&with_body(|body| drop(body.as_object_mut().unwrap().remove("created_by"))), "created_by");
    told(&with_body(|body| body["created_at"] = json!("2026-02-27T14:03:11Z")), "/created_at");
    told(&with_body(|body| body["status"] = json!(1)), "/status");
}

/// What the gateway may answer itself is described too, but a function must not answer so.
#[test]
fn an_answer_of_the_gateway_is_told_when_a_function_gives_it() {
    let request = create_request("new-checkout", "", &turn_on());
    let problem = openapi::document().root().pointer("/components/examples/flagNotFound/value").unwrap();
    let answer = |content_type: &str, cache_control: Option<&str>, body: &Value| {
        let mut answer = with(|answer| {
            answer["statusCode"] = json!(404);
            answer["headers"] = json!({"content-type": content_type});
            answer["body"] = json!(body.to_string());
        });
        if let Some(value) = cache_control {
            answer["headers"]["cache-control"] = json!(value);
        }
        answer
    };
    let by_the_gateway = json!({"message": "Not Found"});
    let (json, problem_json, no_store) = ("application/json", "application/problem+json", Some("no-store"));

    let faults =
        openapi::faults_of("create-schedule", &request.event(), &answer(problem_json, no_store, problem));
    assert!(faults.is_empty(), "{faults:#?}");
    assert_told(&request, &answer(json, no_store, &by_the_gateway), "the content type is");
    assert_told(&request, &answer(json, no_store, problem), "the content type is");
    assert_told(&request, &answer(problem_json, None, problem), "cache-control is missing");
    let told = openapi::faults_of(
        "create-schedule",
        &request.event(),
        &answer(problem_json, no_store, &by_the_gateway),
    );
    assert!(told.iter().any(|fault| fault.contains("code")), "{told:#?}");
}

#[test]
fn a_request_that_is_not_described_and_yet_carried_out_is_told() {
    let told = |request: &Request, expected: &str| assert_told(request, &created(), expected);
    let body = turn_on();
    let create = |flag: &str, query: &str| create_request(flag, query, &body);

    told(&create("new-checkout", "colour=red"), "the query parameter colour is not described");
    told(&create("new-checkout", "environment=a%00b"), "the query parameter environment");
    told(&create(&"x".repeat(101), ""), "the path parameter flagKey");
    told(&create("new-checkout", "").header("Idempotency-Key", &"k".repeat(129)), "idempotency-key");
    told(
        &create_request("new-checkout", "", &json!({"scheduled_at": "now", "updates": {"enabled": true}})),
        "/scheduled_at",
    );
    told(&create_request("new-checkout", "", &json!({"updates": {"enabled": true}})), "scheduled_at");
    told(&create("new-checkout", "").without_header("content-type"), "the content type is None");
    told(
        &list_request("new-checkout", "").header("content-type", "application/json"),
        "the body is not JSON",
    );
}
