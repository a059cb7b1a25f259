//! What any answer has to be, whatever was asked.

use harness::gateway::Response;
use serde_json::Value;

use super::service::{Endpoint, LAMBDA_REQUEST_ID};
use crate::api::KEYS;

/// The statuses of problems, each with its codes.
const PROBLEMS: [(u16, &[&str]); 8] = [
    (400, &["invalid_request", "invalid_json"]),
    (401, &["unauthenticated"]),
    (403, &["forbidden"]),
    (404, &["flag_not_found", "schedule_not_found"]),
    (409, &["schedule_not_pending"]),
    (413, &["body_too_large"]),
    (415, &["unsupported_media_type"]),
    (422, &["idempotency_key_reused", "rejected_by_database"]),
];

/// What is wrong with an answer to this event; 5xx always is.
pub fn faults(endpoint: Endpoint, event: &Value, response: &Response) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |is_so: bool, what: &str| {
        if !is_so {
            faults.push(format!("{what}: {} {:?} {}", response.status, response.headers, response.text));
        }
    };
    check(response.header("cache-control") == Some("no-store"), "it may be stored");
    let body = &response.json;
    if [200, 201].contains(&response.status) {
        check(response.header("content-type") == Some("application/json"), "it is no JSON");
        match endpoint {
            Endpoint::List => {
                let schedules = body["schedules"].as_array();
                check(schedules.is_some_and(|all| all.iter().all(is_schedule)), "it is no page of schedules");
                let next = body.get("next_cursor");
                check(next.is_some_and(|next| next.is_null() || next.is_string()), "it has no next_cursor");
                check(response.status == 200, "a list is 200");
            }
            Endpoint::Create => {
                check(is_schedule(body), "it is no schedule");
                let location = response.header("location").unwrap_or_default();
                let id = body["id"].as_str().unwrap_or_default();
                let leads_there = location.split('?').next() == Some(&format!("schedule/{id}"));
                check((response.status == 201) == leads_there, "201 has a Location, and 200 has none");
            }
            Endpoint::Cancel => {
                check(is_schedule(body) && body["status"] == "cancelled", "it is no cancelled schedule");
                check(response.status == 200, "a cancel is 200");
            }
        }
        return faults;
    }
    let codes = PROBLEMS.iter().find(|(status, _)| *status == response.status).map(|(_, codes)| *codes);
    let code = body["code"].as_str().unwrap_or_default();
    check(codes.is_some_and(|codes| codes.contains(&code)), "there is no such status or code");
    check(response.header("content-type") == Some("application/problem+json"), "it is no problem document");
    check(body["status"] == response.status, "the document has another status");
    check(body["type"] == format!("urn:flag-schedules:problem:{code}"), "the type is not that of the code");
    for member in ["title", "detail"] {
        check(body[member].as_str().is_some_and(|text| !text.is_empty()), "title or detail is missing");
    }
    let gateways = event["requestContext"]["requestId"].as_str().filter(|id| !id.is_empty());
    let request_id: String = gateways.unwrap_or(LAMBDA_REQUEST_ID).chars().take(200).collect();
    check(body["request_id"] == request_id, "the request id is another");
    check(
        [401, 403].contains(&response.status)
            == response.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")),
        "401 and 403 have a challenge, and others have none",
    );
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    check(
        (code == "invalid_request") != errors.is_empty(),
        "invalid_request has errors, and others have none",
    );
    check(errors.iter().all(is_fault), "a fault has one place and a detail");
    check(
        (response.status == 409) == is_schedule(&body["schedule"]),
        "409 has the schedule, and others have none",
    );
    faults
}

fn is_schedule(value: &Value) -> bool {
    let keys = value.as_object().into_iter().flat_map(|schedule| schedule.keys().map(String::as_str));
    keys.collect::<std::collections::BTreeSet<_>>() == KEYS.into()
}

fn is_fault(fault: &Value) -> bool {
    let places = ["pointer", "parameter", "header"].iter().filter(|place| fault[**place].is_string()).count();
    places == 1 && fault["detail"].as_str().is_some_and(|detail| !detail.is_empty())
}

#[test]
fn an_answer_that_is_not_legal_is_told() {
    let answer = |status: u16, content_type: &str, body: Value| Response {
        status,
        headers: [("content-type", content_type), ("cache-control", "no-store")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        text: body.to_string(),
        json: body,
        after: std::time::Duration::ZERO,
    };
    let told = |answer: &Response| faults(Endpoint::List, &Value::Null, answer).len();
    let problem = |status: u16, code: &str| {
        serde_json::json!({
            "type": format!("urn:flag-schedules:problem:{code}"), "title": "x", "status": status, "detail": "x",
            "code": code, "request_id": LAMBDA_REQUEST_ID,
        })
    };
    let page = serde_json::json!({"schedules": [], "next_cursor": null});

    assert_eq!(told(&answer(200, "application/json", page.clone())), 0);
    assert_eq!(told(&answer(404, "application/problem+json", problem(404, "flag_not_found"))), 0);
    for (case, bad) in [
        ("500", answer(500, "application/problem+json", problem(500, "internal_error"))),
        ("503", answer(503, "application/problem+json", problem(503, "service_unavailable"))),
        ("a code of another status", answer(404, "application/problem+json", problem(404, "forbidden"))),
        ("another status inside", answer(404, "application/problem+json", problem(403, "flag_not_found"))),
        ("JSON that is no problem", answer(404, "application/json", problem(404, "flag_not_found"))),
        ("401 without a challenge", answer(401, "application/problem+json", problem(401, "unauthenticated"))),
        ("400 without errors", answer(400, "application/problem+json", problem(400, "invalid_request"))),
        (
            "409 without the schedule",
            answer(409, "application/problem+json", problem(409, "schedule_not_pending")),
        ),
        (
            "a schedule with too few keys",
            answer(200, "application/json", serde_json::json!({"schedules": [{}], "next_cursor": null})),
        ),
        ("a created list", answer(201, "application/json", page)),
        ("nothing", answer(200, "application/json", Value::Null)),
    ] {
        assert!(told(&bad) > 0, "{case}: {bad:?}");
    }
}
