//! The local stack as API Gateway: what it answers, and what it passes to the functions, which are a recorder here.

use std::time::Duration;

use harness::clock;
use harness::http::recorder::Recorder;
use harness::http::{Answer, send};
use harness::tokens::{AUDIENCE, Keys};
use hyper::Method;
use local_stack::front::authorizer::Authorizer;
use local_stack::front::{Explorer, Front, Gateway};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::LIMIT;

const SCHEDULES: &str = "/api/admin/flags/new-checkout/schedule";

struct Local {
    front: Front,
    functions: Recorder,
}

impl Local {
    async fn start(gateway: Gateway) -> Self {
        let answer =
            json!({"statusCode": 201, "headers": {"Location": "schedule/1"}, "body": r#"{"id":"1"}"#});
        let functions = Recorder::answering(200, answer.to_string()).await;
        let explorer = Explorer::signed_in("t.o.ken".to_owned()).unwrap_or_else(|error| panic!("{error}"));
        let front = Front::start(0, functions.url(""), gateway, explorer).await.unwrap();
        Self { front, functions }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("{}{path}", self.front.url());
        send(method, &url, headers, body.to_owned(), LIMIT).await.unwrap()
    }
}

fn told(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
}

#[tokio::test]
async fn a_function_gets_the_request_and_the_client_its_answer() {
    let local = Local::start(Gateway::default()).await;

    let path = format!("{SCHEDULES}?environment=staging");
    let answer = local.send(Method::POST, &path, &[("user-agent", "curl/8"), ("X-A", "b")], "{}").await;

    assert_eq!(told(&answer), (201, json!({"id": "1"})));
    assert_eq!(answer.headers["location"], "schedule/1");
    let asked = local.functions.asked().remove(0);
    assert_eq!(asked.target, "/2015-03-31/functions/create-schedule/invocations");
    let event = asked.body;
    assert_eq!(event["routeKey"], "POST /api/admin/flags/{flagKey}/schedule");
    assert_eq!(event["rawPath"], SCHEDULES);
    assert_eq!(event["pathParameters"], json!({"flagKey": "new-checkout"}));
    assert_eq!(event["queryStringParameters"], json!({"environment": "staging"}));
    assert_eq!((&event["headers"]["x-a"], &event["body"]), (&json!("b"), &json!("{}")));
    let context = &event["requestContext"];
    assert_eq!(context["http"]["sourceIp"], "127.0.0.1");
    assert_eq!(context["http"]["userAgent"], "curl/8");
    assert_eq!(context["requestId"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn what_no_function_answers_is_answered_as_api_gateway_does() {
    let local = Local::start(Gateway::default()).await;
    let large = "x".repeat(10 * 1024 * 1024 + 1);

    let no_path = local.send(Method::GET, "/api/admin/flags", &[], "").await;
    let no_method = local.send(Method::PUT, SCHEDULES, &[], "{}").await;
    let too_large = local.send(Method::POST, SCHEDULES, &[], &large).await;
    assert_eq!(told(&no_path), (404, json!({"message": "Not Found"})));
    assert_eq!(told(&no_method), (404, json!({"message": "Not Found"})));
    assert_eq!(told(&too_large), (413, json!({"message": "Request Entity Too Large"})));
    assert!(local.functions.asked().is_empty());

    local.functions.answer_with(200, r#"{"errorType": "Unknown"}"#);
    let no_answer = local.send(Method::POST, SCHEDULES, &[], "{}").await;
    local.functions.answer_with(500, r#"{"errorType": "Unknown"}"#);
    let failed = local.send(Method::POST, SCHEDULES, &[], "{}").await;
    assert_eq!(told(&no_answer), (500, json!({"message": "Internal Server Error"})));
    assert_eq!(told(&failed), told(&no_answer));
}

#[tokio::test]
async fn invocations_are_forwarded_unchanged() {
    let local = Local::start(Gateway::default()).await;
    local.functions.answer_with(500, r#"{"errorType": "Unknown"}"#);

    let invoke = |name: &str| format!("/2015-03-31/functions/{name}/invocations");
    let failed = local.send(Method::POST, &invoke("verify-trail"), &[], r#"{"a": 1}"#).await;
    let unknown = local.send(Method::POST, &invoke("nobody"), &[], "{}").await;

    assert_eq!(told(&failed), (500, json!({"errorType": "Unknown"})));
    assert_eq!(unknown.status, 404);
    let asked = local.functions.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((&asked[0].target, &asked[0].body), (&invoke("verify-trail"), &json!({"a": 1})));
}

#[tokio::test]
async fn without_origins_no_page_may_call() {
    let local = Local::start(Gateway::default()).await;
    let page = [("origin", "http://localhost:5173"), ("access-control-request-method", "POST")];

    for (method, status) in [(Method::OPTIONS, 404), (Method::POST, 201)] {
        let answer = local.send(method.clone(), SCHEDULES, &page, "").await;
        let cors = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count();
        assert_eq!((answer.status.as_u16(), cors), (status, 0), "{method}");
    }
}

#[tokio::test]
async fn the_authorizer_refuses_a_bad_token_before_any_function() {
    let (keys, others) = (Keys::for_algorithm("RS256"), Keys::for_algorithm("RS512"));
    let local = Local::start(Gateway { authorizer: Some(Authorizer::of(&keys)), ..Gateway::default() }).await;
    let soon = (clock::now() + Duration::from_secs(60)).timestamp();
    let good = keys.token();
    let bad = [
        (good.clone().claim("iss", "https://other.test").sign(), "the token does not have a valid issuer"),
        (good.clone().claim("aud", "other").sign(), "the token does not have a valid audience"),
        (good.clone().without_claim("aud").sign(), "the token does not have a valid audience"),
        (good.clone().expires_in(chrono::Duration::seconds(-1)).sign(), "the token has expired"),
        (good.clone().without_claim("exp").sign(), "the token has expired"),
        (good.clone().claim("nbf", soon).sign(), "the token is not valid yet"),
        (good.clone().header("kid", "other").sign(), "the token is not valid"),
        (good.clone().header("alg", "none").sign(), "the token is not valid"),
        (good.clone().signed_by(|_| vec![0; 256]), "the token is not valid"),
        (others.token().sign(), "the token is not valid"),
        ("x".to_owned(), "the token is not valid"),
    ];
    let send = async |authorization: &str| {
        local.send(Method::POST, SCHEDULES, &[("authorization", authorization)], "{}").await
    };

    for (token, why) in bad {
        let answer = send(&format!("Bearer {token}")).await;
        assert_eq!(told(&answer), (401, json!({"message": "Unauthorized"})), "{why}");
        let expected = format!(r#"Bearer scope="" error="invalid_token" error_description="{why}""#);
        assert_eq!(answer.headers["www-authenticate"], expected);
    }
    let missing = local.send(Method::POST, SCHEDULES, &[], "{}").await;
    assert_eq!(told(&missing), (401, json!({"message": "Unauthorized"})));
    assert_eq!(missing.headers["www-authenticate"], "Bearer");
    assert!(local.functions.asked().is_empty());
    // Routes come before the authorizer.
    assert_eq!(local.send(Method::GET, "/", &[], "").await.status, 404);

    let of_a_client = good.clone().without_claim("aud").claim("client_id", AUDIENCE);
    for token in [good.clone(), good.groups(&[]), of_a_client] {
        assert_eq!(send(&format!("Bearer {}", token.sign())).await.status, 201);
    }
}

/// Against DNS rebinding.
#[tokio::test]
async fn the_explorer_is_shown_under_the_names_of_this_machine_only() {
    let local = Local::start(Gateway::default()).await;
    let address = local.front.url().replace("http://", "");
    let port = address.rsplit(':').next().unwrap();
    let page = async |host: &str| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request =
            format!("GET /docs/start.js HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };

    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let start = page(host).await;
        assert!(start.contains("t.o.ken") && !start.contains("$ADMIN_TOKEN"), "{host}: {start}");
    }
    for host in ["pages.example.test", "localhost.example.test", "203.0.113.7"] {
        let start = page(host).await;
        assert!(start.starts_with("HTTP/1.1 404") && !start.contains("t.o.ken"), "{host}: {start}");
    }
}
