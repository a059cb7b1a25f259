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
            ("a number as the body", changed("/body", json!(1))),
            ("a text for whether it is base64", changed("/isBase64Encoded", json!("false"))),
            ("a list as the query", changed("/queryStringParameters", json!([]))),
            ("a request id that is no text", changed("/requestContext/requestId", json!(1))),
            ("an address that is no text", changed("/requestContext/http/sourceIp", json!([]))),
            ("no http in the context", changed("/requestContext/http", json!(null))),
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

#[tokio::test]
async fn what_is_not_used_of_an_event_never_matters() {
    let (api, _) = api_with_flag().await;
    let claims = json!({"sub": "admin-1", "groups": ["admin"], "iat": 1, "nested": {"a": [null]}});
    let unused = [
        ("/requestContext/authorizer", json!({"jwt": {"claims": claims, "scopes": 1}})),
        ("/requestContext/authorizer", json!([1])),
        ("/requestContext/authentication", json!("none")),
        ("/requestContext/timeEpoch", json!("now")),
        ("/requestContext/http/method", json!(["not a method"])),
        ("/cookies", json!({"a": 1})),
        ("/stageVariables", json!([1])),
        ("/rawPath", json!(1)),
        ("/version", json!(null)),
        ("/type", json!(1)),
    ];

    for (pointer, value) in unused {
        let mut event = create_request(FLAG, "", &turn_on()).bearer(&api.admin()).event();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        event.pointer_mut(parent).expect("it is there")[key] = value.clone();

        let created = answer(&api, "create-schedule", &event).await;

        assert_eq!(created.status, 201, "{pointer} {value}: {created:?}");
    }
}

#[tokio::test]
async fn a_used_part_of_the_wrong_kind_is_named_and_another_kind_of_event_is_told_what_to_send() {
    let (api, _) = api_with_flag().await;
    let good = create_request(FLAG, "", &turn_on()).bearer(&api.admin()).event();
    let changed = |pointer: &str, value: Value| {
        let mut event = good.clone();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        event.pointer_mut(parent).expect("it is there")[key] = value;
        event
    };
    let rest = json!({
        "version": "1.0", "resource": "/x", "path": "/x", "httpMethod": "POST", "headers": {},
        "requestContext": {"requestId": "r-1", "identity": {"sourceIp": "203.0.113.7"}}, "body": null,
    });
    let mut without_version = rest.clone();
    without_version.as_object_mut().map(|event| event.remove("version"));
    let cases = [
        (changed("/body", json!({"updates": {}})), "`body` must be a string"),
        (changed("/headers", json!([])), "`headers` must be an object"),
        (changed("/headers/content-type", json!(1)), "`headers.content-type` must be a string"),
        (changed("/headers/x-odd", json!("a\nb")), "`headers.x-odd` contains characters"),
        (changed("/pathParameters", json!("x")), "`pathParameters` must be an object"),
        (changed("/pathParameters/flagKey", json!(["a"])), "`pathParameters.flagKey` must be a string"),
        (changed("/rawQueryString", json!({})), "`rawQueryString` must be a string"),
        (
            changed("/requestContext/http/userAgent", json!(1)),
            "`requestContext.http.userAgent` must be a string",
        ),
        (rest, "payload format version to 2.0"),
        (without_version, "payload format version to 2.0"),
        (tick_event(), "not invoked by an API Gateway HTTP API"),
        (json!(null), "not invoked by an API Gateway HTTP API"),
        (json!("hello"), "not invoked by an API Gateway HTTP API"),
    ];

    for (event, expected) in cases {
        let refused = answer(&api, "create-schedule", &event).await;

        assert_problem(&refused, 400, "invalid_request", expected);
        let detail = text(&refused.json["errors"][0], "detail");
        assert!(detail.contains(expected), "expected {expected}: {refused:?}");
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_kept_in_part() {
    let (api, _) = api_with_flag().await;
    let long = |character: &str, length: usize| character.repeat(length);
    let request = create_request(FLAG, "", &turn_on()).request_id(&long("ü", 300));
    let request = request.client(&long("1", 1_001), &long("\u{1f680}", 20_000)).bearer(&api.admin());

    let created = api.send(&request).await;
    let refused = api.send(&list_request(FLAG, "x=1").request_id(&long("ü", 300)).bearer(&api.admin())).await;

    assert_eq!(created.status, 201, "{created:?}");
    let events = api.events().await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["request"]["request_id"], long("ü", 200));
    assert_eq!(events[0]["request"]["source_ip"], long("1", 1_000));
    assert_eq!(events[0]["request"]["user_agent"], long("\u{1f680}", 1_000));
    assert_eq!(refused.json["request_id"], long("ü", 200));
}
