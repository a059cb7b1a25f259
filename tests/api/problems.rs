//! What is answered when it goes wrong elsewhere: a problem document, always, and the next request is like any other.

use std::time::Duration;

use harness::api::{Api, cancel_request, create_request, list_request, tick_event};
use harness::gateway::{Request, Response};
use harness::lambda::End;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{FLAG, answer, api_with_flag, assert_problem, logged, parameters, written};
use crate::support::{text, turn_on};

fn everywhere() -> [(&'static str, Request); 3] {
    let id = Uuid::new_v4().to_string();
    [
        ("create-schedule", create_request(FLAG, "", &turn_on())),
        ("list-schedules", list_request(FLAG, "")),
        ("cancel-schedule", cancel_request(FLAG, &id, "")),
    ]
}

#[tokio::test]
async fn the_request_id_is_api_gateways_or_else_lambdas() {
    let (api, _) = api_with_flag().await;

    for (function, request) in everywhere() {
        let event = request.request_id("gateway-1=").event();
        let named = answer(&api, function, &event).await;
        assert_eq!(named.json["request_id"], "gateway-1=", "{named:?}");

        for absent in [json!(null), json!("")] {
            let mut event = event.clone();
            event["requestContext"]["requestId"] = absent;
            let invocation = api.function(function).await.invoke(&event).await;
            let lambdas = invocation.request_id.clone();
            assert_eq!(Response::of(invocation).json["request_id"], lambdas.as_str());
        }
        let mut without = event.clone();
        without["requestContext"].as_object_mut().map(|context| context.remove("requestId"));
        let invocation = api.function(function).await.invoke(&without).await;
        let lambdas = invocation.request_id.clone();
        assert_eq!(Response::of(invocation).json["request_id"], lambdas.as_str());

        // An event that cannot be read may still say who it is.
        let mut unreadable = event;
        unreadable["headers"]["x-odd"] = json!("a\nb");
        let unreadable = answer(&api, function, &unreadable).await;
        assert_problem(&unreadable, 400, "invalid_request", function);
        assert_eq!(unreadable.json["request_id"], "gateway-1=", "{unreadable:?}");
    }
}

#[tokio::test]
async fn with_the_database_out_of_reach_functions_start_and_answer_503_with_retry_after() {
    let nowhere = "postgres://service:topsecret@127.0.0.1:1/flags";
    let api = Api::with().env_everywhere("DATABASE_URL", Some(nowhere)).start().await;

    for (function, request) in everywhere() {
        let nobodys = api.send(&request).await;
        let answer = api.send(&request.bearer(&api.admin())).await;

        assert_problem(&nobodys, 401, "unauthenticated", "authentication comes first");
        assert_problem(&answer, 503, "service_unavailable", function);
        let seconds = answer.header("retry-after").and_then(|after| after.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds >= 1), "{function}: {answer:?}");
        let line = logged(&api, function, &answer).await;
        assert_eq!(line["level"], "ERROR", "{line:#}");
        assert!(text(&line, "cause").contains("refused"), "the log says why: {line:#}");
        let logs = api.function(function).await.logs();
        assert!(!logs.join("\n").contains("topsecret"), "{logs:#?}");
    }
}

#[tokio::test]
async fn a_fault_of_the_service_shows_the_caller_nothing_and_the_log_everything() {
    let (api, _) = api_with_flag().await;
    let rename = "alter table feature_flag_schedules rename column flag_id to flag";
    api.database.connect_as_superuser().await.batch_execute(rename).await.unwrap();

    for (function, request) in everywhere() {
        let answer = api.send(&request.bearer(&api.admin())).await;

        assert_problem(&answer, 500, "internal_error", function);
        for internal in ["column", "flag_id", "feature_flag", "select", "postgres"] {
            assert!(!answer.text.contains(internal), "{function} shows {internal:?}: {}", answer.text);
        }
        let line = logged(&api, function, &answer).await;
        assert_eq!(line["level"], "ERROR", "{line:#}");
        for internal in ["flag_id", "does not exist"] {
            assert!(text(&line, "cause").contains(internal), "{line:#}");
        }
    }
}

#[tokio::test]
async fn an_event_that_is_no_request_is_answered_and_the_next_one_is_like_any_other() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;

    for (function, request) in everywhere() {
        let good = request.bearer(&api.admin()).event();
        let changed = |pointer: &str, value: Value| {
            let mut event = good.clone();
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            event.pointer_mut(parent).expect("it is there")[key] = value;
            event
        };
        let odd = [
            ("a tick", tick_event()),
            ("null", json!(null)),
            ("a text", json!("hello")),
            ("a list", json!([good])),
            ("nothing", json!({})),
            (
                "payload format 1.0",
                json!({"version": "1.0", "httpMethod": "POST", "path": "/", "headers": {}}),
            ),
            ("a line break in a header", changed("/headers/x-odd", json!("a\r\nb"))),
            ("a NUL in a header", changed("/headers/x-odd", json!("a\0b"))),
            ("a line break in the token", changed("/headers/authorization", json!("Bearer a\nb"))),
            ("a header's name with a space", changed("/headers/x odd", json!("1"))),
            ("headers that are no object", changed("/headers", json!("x: y"))),
            ("a quote in the query", changed("/rawQueryString", json!("a=\"b\""))),
            ("a space and a bracket in the query", changed("/rawQueryString", json!("a b={<>}"))),
            ("a line break in the query", changed("/rawQueryString", json!("environment=a\nb"))),
            ("a path parameter that is no text", changed("/pathParameters/flagKey", json!(1))),
            ("no path parameters", changed("/pathParameters", json!({}))),
            ("no context", changed("/requestContext", json!(null))),
            ("a NUL in the caller's address", changed("/requestContext/http/sourceIp", json!("a\0b"))),
            ("a NUL in the user agent", changed("/requestContext/http/userAgent", json!("a\0b"))),
            ("an unknown method", changed("/requestContext/http/method", json!("not a method"))),
        ];

        for (case, event) in odd {
            let odd = answer(&api, function, &event).await;
            let settled = api.function(function).await.settled(Duration::from_secs(5)).await;
            let next = answer(&api, function, &changed("/rawQueryString", json!("limit=0&x"))).await;

            assert_problem(&odd, 400, "invalid_request", &format!("{function}, {case}"));
            assert!(
                settled.is_some_and(|settled| settled.end == End::Idle),
                "{function}, {case}: {settled:?}"
            );
            assert!(
                settled.is_some_and(|settled| settled.done_after < Duration::from_secs(2)),
                "{case}: {settled:?}"
            );
            assert_problem(&next, 400, "invalid_request", case);
            assert_eq!(parameters(&next).last(), Some(&"x"), "{case}: the next one is read: {next:?}");
        }
    }

    assert_eq!(written(&api).await, before);
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    assert_eq!(created.status, 201, "{created:?}");
}
