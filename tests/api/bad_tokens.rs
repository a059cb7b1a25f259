//! Tokens that are not good: one answer for all of them, which does not help to make a better one.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use harness::api::{Api, list_request};
use harness::clock;
use harness::http::recorder::Recorder;
use harness::tokens::{AUDIENCE, ISSUER, Keys};
use serde_json::{Value, json};

use super::{FLAG, answer, api_with_flag, assert_problem, but_for_the_request_id, logged};

/// Tokens whose header or form is at fault.
fn malformed(api: &Api) -> Vec<(&'static str, String)> {
    let good = api.admin();
    let token = || api.token();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{good} has three segments") };
    let raw_header = |header: &str| token().with_raw_header(header);
    let kid = api.keys.kid();
    let mut tokens = vec![
        ("nothing but dots", "..".to_owned()),
        ("garbage", "garbage".to_owned()),
        ("three segments of garbage", "a.b.c".to_owned()),
        ("not ASCII", "schlüssel".to_owned()),
        ("NULs", "%00%00".to_owned()),
        ("two segments", format!("{header}.{claims}")),
        ("four segments", format!("{good}.{signature}")),
        ("five segments, as of an encrypted token", format!("{good}.{signature}.{signature}")),
        ("an empty signature", format!("{header}.{claims}.")),
        ("base64 with padding", format!("{good}==")),
        ("two tokens", format!("{good} {good}")),
        ("more than 8 KiB", token().claim("padding", "x".repeat(8 * 1024)).sign()),
        ("a megabyte", "x".repeat(1024 * 1024)),
        ("a header that is no object", raw_header("[]")),
        (
            "a header with a key twice",
            raw_header(&format!(r#"{{"alg":"none","alg":"ES256","kid":"{kid}"}}"#)),
        ),
        ("a kid twice", raw_header(&format!(r#"{{"alg":"ES256","kid":"x","kid":"{kid}"}}"#))),
        ("no alg", token().without_header("alg").sign()),
        ("alg none", token().header("alg", "none").signed_by(|_| Vec::new())),
        ("alg none, signed", token().header("alg", "none").sign()),
        ("alg NONE", token().header("alg", "NONE").signed_by(|_| Vec::new())),
        ("alg in lower case", token().header("alg", "es256").sign()),
        ("alg of another curve", token().header("alg", "ES384").sign()),
        ("alg of another key type", token().header("alg", "RS256").sign()),
        ("an algorithm that is not allowed", token().header("alg", "ES512").sign()),
        ("no kid", token().without_header("kid").sign()),
        ("an empty kid", token().header("kid", "").sign()),
        ("a kid that is a number", token().header("kid", 1).sign()),
        ("an unknown kid", token().header("kid", "another").sign()),
        ("a kid that is a path", token().header("kid", "../../../../dev/null").sign()),
        ("a kid that is SQL", token().header("kid", "' or '1'='1").sign()),
        ("a kid with control characters", token().header("kid", format!("{kid}\0\n")).sign()),
    ];
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("zip", json!("DEF")),
        ("x5c", json!(["AAAA"])),
        ("typ", json!("other")),
        ("typ", json!("JWE")),
        ("typ", json!("")),
        ("typ", json!(1)),
    ] {
        tokens.push((name, token().header(name, value).sign()));
    }
    tokens
}

/// Tokens that somebody else has signed, or nobody.
fn forged(api: &Api) -> Vec<(&'static str, String)> {
    let others = Keys::generate();
    let good = api.admin();
    let (input, signature) = good.rsplit_once('.').expect("a token has segments");
    let hs256 = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        api.token().header("alg", "HS256").signed_by(|input| hmac::sign(&key, input).as_ref().to_vec())
    };
    let x = URL_SAFE_NO_PAD.decode(api.keys.jwk()["x"].as_str().unwrap_or_default()).expect("a coordinate");
    let mut altered = URL_SAFE_NO_PAD.decode(signature).expect("a signature");
    altered[40] ^= 1;
    let more_rights = api.token().user("somebody else").sign();
    let (others_input, _) = more_rights.rsplit_once('.').expect("a token has segments");
    vec![
        ("another key's signature", api.token().signed_by(|input| others.sign(input))),
        ("another key with its own id", others.token().sign()),
        ("an altered signature", format!("{input}.{}", URL_SAFE_NO_PAD.encode(altered))),
        ("a signature of zeros", api.token().signed_by(|_| vec![0; 64])),
        ("a signature of other claims", format!("{others_input}.{signature}")),
        ("HS256 with the key set as the secret", hs256(api.keys.jwks().to_string().as_bytes())),
        ("HS256 with the key as the secret", hs256(api.keys.jwk().to_string().as_bytes())),
        ("HS256 with a coordinate as the secret", hs256(&x)),
        ("HS256 with nothing as the secret", hs256(b"")),
        ("its own key in jwk", api.token().header("jwk", others.jwk()).signed_by(|input| others.sign(input))),
        ("its own key and id in jwk", others.token().header("jwk", others.jwk()).sign()),
        ("the good key in jwk", api.token().header("jwk", api.keys.jwk()).sign()),
    ]
}

/// Well signed tokens whose claims are at fault.
fn misfitting(api: &Api) -> Vec<(&'static str, String)> {
    let now = clock::now().timestamp();
    let token = || api.token();
    let claims = |extra: &str| {
        let times = format!(r#""iat":{now},"exp":{},"cognito:groups":["admin"]"#, now + 600);
        token().with_raw_claims(&format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}",{times},{extra}}}"#))
    };
    let mut tokens = vec![
        ("expired", token().expires_in(Duration::seconds(-40)).sign()),
        ("expired long ago", token().claim("iat", 0).claim("exp", 3600).sign()),
        ("never expires", token().without_claim("exp").sign()),
        ("valid for more than 24 hours", token().claim("exp", now + 86_400 + 60).sign()),
        ("not valid yet", token().claim("nbf", now + 60).sign()),
        ("not issued yet", token().claim("iat", now + 60).sign()),
        ("never issued", token().without_claim("iat").sign()),
        ("another issuer", token().claim("iss", "https://other.example.test").sign()),
        ("the issuer with a slash", token().claim("iss", format!("{ISSUER}/")).sign()),
        ("several issuers", token().claim("iss", json!([ISSUER])).sign()),
        ("no issuer", token().without_claim("iss").sign()),
        ("another audience", token().claim("aud", "other").sign()),
        ("other audiences", token().claim("aud", json!(["other", "flag-admin-2"])).sign()),
        ("an empty list of audiences", token().claim("aud", json!([])).sign()),
        ("an audience that is no text", token().claim("aud", json!({"flag-admin": true})).sign()),
        ("no audience", token().without_claim("aud").sign()),
        ("another client_id", token().without_claim("aud").claim("client_id", "other").sign()),
        (
            "the right client_id beside a wrong aud",
            token().claim("aud", "other").claim("client_id", AUDIENCE).sign(),
        ),
        ("no sub", token().without_claim("sub").sign()),
        ("claims that are no object", token().with_raw_claims("[]")),
        ("claims that are no JSON", token().with_raw_claims("sub=admin")),
        ("sub twice", claims(r#""sub":"admin-1","sub":"admin-2""#)),
        ("exp twice", claims(r#""sub":"admin-1","exp":99999999999"#)),
    ];
    for (name, value) in [
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(null)),
        ("iat", json!(now.to_string())),
        ("iat", json!(null)),
        ("nbf", json!("tomorrow")),
        ("sub", json!("")),
        ("sub", json!(null)),
        ("sub", json!(7.5)),
        ("sub", json!(["admin-1"])),
        ("sub", json!("ü".repeat(257))),
        ("sub", json!("admin\n-1")),
        ("sub", json!("admin\0")),
        ("sub", json!("\u{1b}[31madmin")),
        ("sub", json!("admin\u{85}")),
        ("email", json!("admin@example.test\r\nbcc: all")),
    ] {
        tokens.push((name, token().claim(name, value).sign()));
    }
    tokens
}

#[tokio::test]
async fn every_bad_token_gets_one_and_the_same_answer() {
    let (api, _) = api_with_flag().await;
    let tokens = [malformed(&api), forged(&api), misfitting(&api)].concat();
    let nothing = but_for_the_request_id(&api.send(&list_request(FLAG, "")).await);

    for (case, token) in &tokens {
        let answer = api.list(token, FLAG, "").await;

        assert_problem(&answer, 401, "unauthenticated", case);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#), "{case}");
        assert_eq!(but_for_the_request_id(&answer)["body"], nothing["body"], "{case}");
    }

    let good = api.list(&api.admin(), FLAG, "").await;
    assert_eq!(good.status, 200, "a good one goes on working: {good:?}");
    let last = api.list("garbage", FLAG, "").await;
    logged(&api, "list-schedules", &last).await;
    let logs = api.function("list-schedules").await.logs().join("\n");
    for (case, token) in tokens.iter().filter(|(_, token)| token.len() > 20) {
        let tail = &token[token.len().saturating_sub(20)..];
        assert!(!logs.contains(tail), "{case}: the log shows the token");
    }
}

#[tokio::test]
async fn a_header_that_is_not_one_bearer_token_is_refused_with_the_same_body() {
    let (api, _) = api_with_flag().await;
    let token = api.admin();
    let nothing = but_for_the_request_id(&api.send(&list_request(FLAG, "")).await);
    let once = |value: &str| list_request(FLAG, "").header("authorization", value);
    // RFC 6750 section 3.1: who has sent no bearer token at all is told of no error.
    const NO_TOKEN: &str = "Bearer";
    const BAD_TOKEN: &str = r#"Bearer error="invalid_token""#;
    let requests = [
        (BAD_TOKEN, "two of them", list_request(FLAG, "").bearer(&token).bearer(&token)),
        (BAD_TOKEN, "a bad one and a good one", list_request(FLAG, "").bearer("garbage").bearer(&token)),
        (BAD_TOKEN, "a good one and a bad one", list_request(FLAG, "").bearer(&token).bearer("garbage")),
        (
            BAD_TOKEN,
            "a good one and Basic",
            list_request(FLAG, "").bearer(&token).header("authorization", "Basic eA=="),
        ),
        (BAD_TOKEN, "no token", once("Bearer")),
        (BAD_TOKEN, "no token but a space", once("Bearer ")),
        (BAD_TOKEN, "two tokens", once(&format!("Bearer {token} {token}"))),
        (BAD_TOKEN, "in quotes", once(&format!("Bearer \"{token}\""))),
        (BAD_TOKEN, "as a parameter", once(&format!("Bearer token={token}"))),
        (NO_TOKEN, "Basic", once("Basic YWRtaW46YWRtaW4=")),
        (NO_TOKEN, "Basic with a token", once(&format!("Basic {token}"))),
        (NO_TOKEN, "Basic and a good one", once(&format!("Basic eA==,Bearer {token}"))),
        (NO_TOKEN, "DPoP", once(&format!("DPoP {token}"))),
        (NO_TOKEN, "no scheme", once(&token)),
        (NO_TOKEN, "no space", once(&format!("Bearer{token}"))),
        (NO_TOKEN, "nothing at all", once("")),
    ];

    for (challenge, case, request) in requests {
        let answer = api.send(&request).await;

        assert_problem(&answer, 401, "unauthenticated", case);
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{case}");
        assert_eq!(but_for_the_request_id(&answer)["body"], nothing["body"], "{case}");
    }
}

#[tokio::test]
async fn of_two_headers_none_is_taken_however_they_are_handed_over() {
    let (api, _) = api_with_flag().await;
    let good = format!("Bearer {}", api.admin());

    for (first, second) in [(&*good, "Bearer garbage"), ("Bearer garbage", &good), (&good, &good)] {
        let mut event = list_request(FLAG, "").event();
        event["headers"]["Authorization"] = json!(first);
        event["headers"]["authorization"] = json!(second);
        assert_problem(&answer(&api, "list-schedules", &event).await, 400, "invalid_request", "both");
        event["headers"].as_object_mut().expect("headers").remove("Authorization");
        event["headers"]["authorization"] = json!([first, second]);
        assert_problem(
            &answer(&api, "list-schedules", &event).await,
            401,
            "unauthenticated",
            "a list of both",
        );
        event["headers"].as_object_mut().expect("headers").remove("authorization");
        event["headers"]["Authorization"] = json!(good);
        assert_eq!(answer(&api, "list-schedules", &event).await.status, 200, "one of them, in any case");
    }
}

#[tokio::test]
async fn no_bad_token_makes_the_service_ask_a_host_that_it_names() {
    let others = Keys::generate();
    let trap = Recorder::answering(200, others.jwks().to_string()).await;
    let own = Recorder::answering(200, "").await;
    let api = Api::with()
        .env_everywhere("AUTH_JWKS", None)
        .env_everywhere("AUTH_JWKS_URL", Some(&own.url("/jwks.json")))
        .start()
        .await;
    api.flag(FLAG, "production").await;
    own.answer_with(200, api.keys.jwks().to_string());
    let good = api.list(&api.admin(), FLAG, "").await;
    assert_eq!(good.status, 200, "{good:?}");

    let (http, https) = (trap.url("/jwks.json"), trap.url("/jwks.json").replace("http:", "https:"));
    for url in [&http, &https] {
        let named: Value = json!(url);
        let mut tokens: Vec<_> =
            ["jku", "x5u", "kid", "iss"].map(|name| others.token().header(name, named.clone()).sign()).into();
        tokens.extend(["jku", "x5u"].map(|name| api.token().header(name, named.clone()).sign()));
        tokens.push(others.token().claim("iss", named.clone()).sign());
        tokens.push(api.token().claim("iss", named.clone()).sign());
        tokens.push(api.token().header("jwk", json!({"kty": "EC", "x5u": url})).sign());
        for token in tokens {
            let answer = api.list(&token, FLAG, "").await;
            assert_problem(&answer, 401, "unauthenticated", &token);
        }
    }

    api.settle().await;
    assert_eq!(trap.connections(), 0, "{:?}", trap.asked());
    assert_eq!(own.asked().len(), 1, "{:?}", own.asked());
}
