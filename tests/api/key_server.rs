//! Keys by `AUTH_JWKS_URL`: fetched when first needed, kept, and asked for again at most once a minute. Here with the
//! machine's clock; `tokens/key_source.rs` moves it.

use std::time::Instant;

use harness::api::{Api, list_request};
use harness::http::recorder::Recorder;
use harness::tokens::Keys;
use serde_json::json;

use super::{FLAG, assert_problem};
use crate::support::LIMIT;

/// A service that gets its keys from a server, and that server; not a request has been made yet.
async fn api_with_key_server() -> (Api, Recorder) {
    let server = Recorder::answering(200, "").await;
    let api = Api::with()
        .env_everywhere("AUTH_JWKS", None)
        .env_everywhere("AUTH_JWKS_URL", Some(&server.url("/.well-known/jwks.json")))
        .start()
        .await;
    server.answer_with(200, api.keys.jwks().to_string());
    api.flag(FLAG, "production").await;
    (api, server)
}

#[tokio::test]
async fn keys_are_fetched_on_first_use_and_then_kept() {
    let (api, server) = api_with_key_server().await;
    api.function("list-schedules").await;
    assert_eq!(server.connections(), 0, "nothing is fetched before it is needed");

    let refused = [
        list_request(FLAG, ""),
        list_request(FLAG, "").bearer("garbage"),
        list_request(FLAG, "").bearer(&api.token().header("alg", "none").sign()),
        list_request(FLAG, "").bearer(&api.token().without_header("kid").sign()),
    ];
    for request in refused {
        assert_problem(&api.send(&request).await, 401, "unauthenticated", &format!("{request:?}"));
    }
    assert_eq!(server.connections(), 0, "nor for a token that no key could make good");
    for _ in 0..10 {
        let answer = api.list(&api.admin(), FLAG, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    let asked: Vec<_> =
        server.asked().iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect();
    assert_eq!(asked, ["GET /.well-known/jwks.json"]);
}

#[tokio::test]
async fn a_storm_of_unknown_key_ids_costs_one_fetch_a_minute() {
    let (api, server) = api_with_key_server().await;

    for number in 0..20 {
        let unknown = api.token().header("kid", format!("unknown-{number}")).sign();
        assert_problem(&api.list(&unknown, FLAG, "").await, 401, "unauthenticated", "unknown kid");
        let known = api.list(&api.admin(), FLAG, "").await;
        assert_eq!(known.status, 200, "{known:?}");
    }

    assert_eq!(server.asked().len(), 1, "{:?}", server.asked());
}

#[tokio::test]
async fn known_keys_go_on_when_the_key_server_is_gone() {
    let (api, server) = api_with_key_server().await;
    let before = api.list(&api.admin(), FLAG, "").await;
    server.stop().await;

    let unknown = api.list(&Keys::generate().token().sign(), FLAG, "").await;
    let after = api.list(&api.admin(), FLAG, "").await;

    assert_eq!(before.status, 200, "{before:?}");
    assert_problem(&unknown, 401, "unauthenticated", "unknown kid");
    assert_eq!(after.status, 200, "{after:?}");
}

#[tokio::test]
async fn one_key_of_several_is_found_and_keys_for_other_uses_are_passed_over() {
    let (api, server) = api_with_key_server().await;
    let (second, encrypts) = (Keys::generate(), Keys::generate());
    let mut unusable = encrypts.jwk();
    unusable["use"] = json!("enc");
    let of_unknown_type = json!({"kty": "new", "kid": "new"});
    let set = json!({"keys": [of_unknown_type, unusable, api.keys.jwk(), second.jwk()]});
    server.answer_with(200, set.to_string());

    let first = api.list(&api.admin(), FLAG, "").await;
    let other = api.list(&second.token().sign(), FLAG, "").await;
    let wrong_use = api.list(&encrypts.token().sign(), FLAG, "").await;

    assert_eq!((first.status, other.status), (200, 200), "{first:?} {other:?}");
    assert_problem(&wrong_use, 401, "unauthenticated", "a key for encryption");
}

#[tokio::test]
async fn without_keys_the_answer_is_503_with_retry_after_until_they_are_there() {
    let (api, server) = api_with_key_server().await;
    let keys = api.keys.jwks().to_string();
    let mut huge = keys.clone();
    huge.push_str(&" ".repeat(300 * 1024));
    let symmetric = json!({"keys": [api.keys.jwk(), {"kty": "oct", "kid": "1", "k": "AAAA"}]}).to_string();
    let useless = [
        ("an error", 500, keys.clone()),
        ("a redirect", 302, keys.clone()),
        ("nothing", 200, String::new()),
        ("HTML", 200, "<!doctype html><title>Sign in</title>".to_owned()),
        ("no keys", 200, json!({"keys": []}).to_string()),
        ("a secret key", 200, symmetric),
        ("more than anybody needs", 200, huge),
    ];

    for (case, status, body) in useless {
        server.answer_with(status, body);
        let good = api.list(&api.admin(), FLAG, "").await;
        let again = api.list(&api.admin(), FLAG, "").await;
        let none = api.send(&list_request(FLAG, "")).await;

        for answer in [&good, &again] {
            assert_problem(answer, 503, "service_unavailable", case);
            let seconds = answer.header("retry-after").and_then(|after| after.parse::<u32>().ok());
            assert!(seconds.is_some_and(|seconds| seconds >= 1), "{case}: {answer:?}");
        }
        assert_problem(&none, 401, "unauthenticated", case);
        // The next instance begins without a memory of the last fetch.
        api.function("list-schedules").await.kill();
    }
}

#[tokio::test]
async fn a_function_that_found_no_keys_works_without_a_restart_as_soon_as_it_finds_them() {
    let (api, server) = api_with_key_server().await;
    server.answer_with(500, "");
    let without = api.list(&api.admin(), FLAG, "").await;

    server.answer_with(200, api.keys.jwks().to_string());
    let deadline = Instant::now() + LIMIT;
    let with = loop {
        let answer = api.list(&api.admin(), FLAG, "").await;
        if answer.status == 200 || Instant::now() > deadline {
            break answer;
        }
        assert_problem(&answer, 503, "service_unavailable", "not yet");
    };

    assert_problem(&without, 503, "service_unavailable", "no keys");
    assert_eq!(with.status, 200, "{with:?}");
    assert_eq!(
        server.asked().len(),
        2,
        "asked again when callers were told to come back, not with every call"
    );
}
