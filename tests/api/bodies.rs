//! The body of a create before its rules: its type, its size, its encoding, and JSON without ambiguity.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::api::create_request;
use harness::gateway::Request;
use serde_json::json;

use super::{FLAG, answer, api_with_flag, assert_problem, written};
use crate::support::{in_seconds, turn_on};

fn with_body(body: impl Into<Vec<u8>>) -> Request {
    create_request(FLAG, "", &turn_on()).body(body)
}

/// A valid body of this many bytes: spaces mean nothing in JSON.
fn of_size(bytes: usize) -> Vec<u8> {
    let mut body = turn_on().to_string().into_bytes();
    body.resize(bytes, b' ');
    body
}

#[tokio::test]
async fn a_body_may_have_16_kib_but_not_a_byte_more() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;

    for size in [16 * 1024 + 1, 5 * 1024 * 1024] {
        let answer = api.send(&with_body(of_size(size)).bearer(&api.admin())).await;
        assert_problem(&answer, 413, "body_too_large", &format!("{size} bytes"));
    }

    assert_eq!(written(&api).await, before);
    let created = api.send(&with_body(of_size(16 * 1024)).bearer(&api.admin())).await;
    assert_eq!(created.status, 201, "{created:?}");
}

#[tokio::test]
async fn the_limit_of_a_base64_body_is_that_of_what_it_encodes() {
    let (api, _) = api_with_flag().await;
    let encoded = |body: &[u8]| {
        let mut event = with_body("").bearer(&api.admin()).event();
        event["body"] = json!(STANDARD.encode(body));
        event["isBase64Encoded"] = json!(true);
        event
    };

    let created = answer(&api, "create-schedule", &encoded(&of_size(16 * 1024))).await;
    let too_large = answer(&api, "create-schedule", &encoded(&of_size(16 * 1024 + 1))).await;
    let mut broken = encoded(b"{}");
    broken["body"] = json!("not base64!");
    let broken = answer(&api, "create-schedule", &broken).await;

    assert_eq!(created.status, 201, "{created:?}");
    assert_problem(&too_large, 413, "body_too_large", "one byte more");
    assert_problem(&broken, 400, "invalid_request", "not base64");
}

#[tokio::test]
async fn what_is_not_unambiguous_json_in_utf8_is_refused_and_nothing_is_written() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let time = in_seconds(3600);
    let object = turn_on().to_string();
    let utf16: Vec<u8> = object.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(5_000), close.repeat(5_000)).into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a space", b" ".to_vec()),
        ("cut off", object.as_bytes()[..object.len() - 1].to_vec()),
        ("two objects", format!("{object}{object}").into()),
        ("a comma too many", object.replace('}', ",}").into()),
        ("single quotes", object.replace('"', "'").into()),
        ("a form", b"scheduled_at=now".to_vec()),
        ("not a number", br#"{"rollout_percentage": NaN}"#.to_vec()),
        ("a number out of range", br#"{"rollout_percentage": 1e999}"#.to_vec()),
        ("a line break in a string", b"{\"reason\": \"a\nb\"}".to_vec()),
        ("half a surrogate pair", br#"{"reason": "\ud800"}"#.to_vec()),
        ("invalid UTF-8", b"{\"reason\": \"\xff\"}".to_vec()),
        ("overlong UTF-8", b"{\"reason\": \"\xc0\xaf\"}".to_vec()),
        ("UTF-16", utf16),
        ("a byte order mark", format!("\u{feff}{object}").into()),
        ("a key twice", object.replacen('{', &format!(r#"{{"scheduled_at": "{time}","#), 1).into()),
        ("a key twice inside", object.replace(r#""enabled""#, r#""enabled":false,"enabled""#).into()),
        (
            "a key twice, once escaped",
            object.replace(r#""enabled""#, r#""\u0065nabled":false,"enabled""#).into(),
        ),
        ("10 000 open arrays", b"[".repeat(10_000)),
        ("5 000 arrays", deep("[", "]")),
        ("2 000 objects", format!("{}1{}", r#"{"a":"#.repeat(2_000), "}".repeat(2_000)).into()),
    ];

    for (case, body) in cases {
        let answer = api.send(&with_body(body).bearer(&api.admin())).await;
        assert_problem(&answer, 400, "invalid_json", case);
    }

    let mut without = with_body("").bearer(&api.admin()).event();
    without.as_object_mut().map(|event| event.remove("body"));
    let without = answer(&api, "create-schedule", &without).await;
    assert_problem(&without, 400, "invalid_json", "no body");
    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn only_application_json_is_read() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let typed = |media_type: &str| {
        create_request(FLAG, "", &turn_on()).without_header("content-type").header("content-type", media_type)
    };

    let without = create_request(FLAG, "", &turn_on()).without_header("content-type");
    let without = api.send(&without.bearer(&api.admin())).await;
    assert_problem(&without, 415, "unsupported_media_type", "no content type");
    for other in [
        "",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/x-json",
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
        "*/*",
        "text/plain; application/json",
    ] {
        let answer = api.send(&typed(other).bearer(&api.admin())).await;
        assert_problem(&answer, 415, "unsupported_media_type", other);
    }

    assert_eq!(written(&api).await, before);
    for json in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        let created = api.send(&typed(json).bearer(&api.admin())).await;
        assert_eq!(created.status, 201, "{json}: {created:?}");
    }
}
