//! Who is asking: which tokens are good, and that nothing else is judged before them.

use chrono::Duration;
use harness::api::{Api, cancel_request, create_request, list_request};
use harness::clock;
use harness::gateway::Request;
use serde_json::json;
use uuid::Uuid;

use super::{FLAG, api_with_flag, assert_problem, but_for_the_request_id, written};
use crate::support::turn_on;

#[tokio::test]
async fn without_a_token_the_answer_is_401_with_a_challenge_and_no_error() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let id = Uuid::new_v4().to_string();
    // Whatever else is wrong with the request: without a token nobody learns it.
    let requests = [
        create_request(FLAG, "", &turn_on()),
        create_request("nowhere", "environment=", &json!({})),
        create_request(FLAG, "", &turn_on()).without_header("content-type"),
        create_request(FLAG, "", &turn_on()).body("{"),
        list_request(FLAG, ""),
        list_request("nowhere", "limit=0"),
        list_request("%ff", ""),
        cancel_request(FLAG, &id, ""),
        cancel_request("nowhere", "no-uuid", ""),
    ];

    let mut answers = Vec::new();
    for request in requests {
        let answer = api.send(&request).await;
        assert_problem(&answer, 401, "unauthenticated", &format!("{request:?}"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{request:?}");
        answers.push(but_for_the_request_id(&answer));
    }

    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all: {answers:#?}");
    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn a_token_counts_in_the_authorization_header_only() {
    let (api, _) = api_with_flag().await;
    let token = api.admin();
    let mut body = turn_on();
    body["access_token"] = json!(token);
    let elsewhere = [
        list_request(FLAG, &format!("access_token={token}")),
        list_request(FLAG, &format!("authorization=Bearer%20{token}")),
        list_request(FLAG, "").header("cookie", &format!("access_token={token}")),
        list_request(FLAG, "").header("x-authorization", &format!("Bearer {token}")),
        create_request(FLAG, "", &body),
    ];

    for request in elsewhere {
        let answer = api.send(&request).await;
        assert_problem(&answer, 401, "unauthenticated", &format!("{request:?}"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{request:?}");
    }
}

#[tokio::test]
async fn a_good_token_is_good_in_all_its_forms() {
    let (api, _) = api_with_flag().await;
    let now = clock::now().timestamp();
    let token = || api.token();
    let bearer = |token: &str| list_request(FLAG, "").bearer(token);
    let scheme =
        |scheme: &str| list_request(FLAG, "").header("authorization", &format!("{scheme} {}", api.admin()));
    let good: Vec<(&str, Request)> = vec![
        ("as usual", bearer(&api.admin())),
        ("scheme in lower case", scheme("bearer")),
        ("scheme in upper case", scheme("BEARER")),
        ("two spaces", scheme("Bearer ")),
        ("without typ", bearer(&token().without_header("typ").sign())),
        ("an access token by RFC 9068", bearer(&token().header("typ", "at+jwt").sign())),
        ("without e-mail", bearer(&token().without_claim("email").sign())),
        ("expired within the leeway", bearer(&token().expires_in(Duration::seconds(-10)).sign())),
        ("not valid yet, within the leeway", bearer(&token().claim("nbf", now + 15).sign())),
        ("issued ahead, within the leeway", bearer(&token().claim("iat", now + 15).sign())),
        ("valid since an hour", bearer(&token().claim("nbf", now - 3600).sign())),
        ("valid for 24 hours", bearer(&token().claim("iat", now).claim("exp", now + 86_400).sign())),
        ("several audiences", bearer(&token().claim("aud", json!(["other", "flag-admin"])).sign())),
        ("client_id for aud", bearer(&token().without_claim("aud").claim("client_id", "flag-admin").sign())),
        ("client_id beside aud", bearer(&token().claim("client_id", "other").sign())),
        ("one of several groups", bearer(&token().groups(&["staff", "admins"]).sign())),
        ("a group as one string", bearer(&token().claim("cognito:groups", "admin").sign())),
        (
            "groups that are no text",
            bearer(&token().claim("cognito:groups", json!([1, null, "admin"])).sign()),
        ),
        ("the longest user id", bearer(&token().user(&"ü".repeat(256)).sign())),
        ("further claims", bearer(&token().claim("padding", "x".repeat(5_000)).sign())),
    ];

    for (case, request) in good {
        let answer = api.send(&request).await;
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_not_checked_when_none_is_configured() {
    let api =
        Api::with().env_everywhere("AUTH_ISSUER", None).env_everywhere("AUTH_AUDIENCE", None).start().await;
    api.flag(FLAG, "production").await;
    let anybodys = api.token().without_claim("iss").without_claim("aud").sign();
    let others = api.token().claim("iss", "https://other.example.test").claim("aud", "other").sign();
    let expired = api.token().expires_in(Duration::minutes(-1)).sign();

    for token in [anybodys, others] {
        let answer = api.list(&token, FLAG, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_problem(&api.list(&expired, FLAG, "").await, 401, "unauthenticated", "expired all the same");
}
