//! `DATABASE_AUTH=iam`: a token of its own for every connection, over TLS, from whatever credentials there are now.

use harness::api::Api;
use harness::database::Database;
use harness::http::recorder::Recorder;
use serde_json::json;

use super::authority::{Authority, NOW};
use super::tls_front::Front;
use super::{HOST, server_of, service, through};
use crate::support::{LIMIT, text, turn_on};

const USER: &str = harness::postgres::SERVICE_ROLE;
const REGION: &str = "eu-central-1";

/// What Lambda's environment has for a function's role.
const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ASIAINTHEENVIRONMENT"),
    ("AWS_SECRET_ACCESS_KEY", "a-very-secret-key"),
    ("AWS_SESSION_TOKEN", "a-very-secret-session"),
];

/// A service whose database asks for tokens; the credentials are up to `env`.
async fn with_tokens(env: &[(&str, Option<&str>)]) -> (Api, Front, Authority) {
    let database = Database::migrated().await;
    let (target, password) = server_of(&database);
    let authority = Authority::new();
    let front = Front::asking_for_tokens(target, authority.server(&[HOST], NOW), &password).await;
    let url = through(&front, &database, HOST, USER);
    let file = authority.file().display().to_string();
    let setup = Api::with()
        .database(database)
        .env_everywhere("DATABASE_URL", Some(&url))
        .env_everywhere("DATABASE_CA_FILE", Some(&file))
        .env_everywhere("DATABASE_AUTH", Some("iam"))
        .env_everywhere("AWS_REGION", Some(REGION))
        // Beyond the container's credentials the chain would ask an address that is not of this machine.
        .env_everywhere("AWS_EC2_METADATA_DISABLED", Some("true"))
        // The most that a function can be made to say.
        .env_everywhere("AWS_LAMBDA_LOG_LEVEL", Some("TRACE"));
    let api = env.iter().fold(setup, |setup, (name, value)| setup.env_everywhere(name, *value)).start().await;
    api.flag("a", "production").await;
    (api, front, authority)
}

/// Ends the service's connections to its database.
async fn end_connections(api: &Api) {
    api.settle().await;
    assert!(api.database.terminate_connections().await > 0, "the service had a connection");
}

/// Checks what is in a token but its signature.
fn assert_token(token: &str, front: &Front, key: &str) {
    let expected =
        format!("{HOST}:{}/?Action=connect&DBUser={USER}&X-Amz-Algorithm=AWS4-HMAC-SHA256", front.port());
    assert!(token.starts_with(&expected), "expected {expected}…, got {token}");
    assert!(token.contains(&format!("&X-Amz-Credential={key}%2F")), "expected the key {key} in {token}");
    assert!(token.contains(&format!("%2F{REGION}%2Frds-db%2Faws4_request&")), "{token}");
    assert!(token.contains("&X-Amz-Expires=900&"), "{token}");
}

#[tokio::test]
async fn every_function_comes_with_a_token_and_none_is_logged() {
    let env = KEYS.map(|(name, value)| (name, Some(value)));
    let (api, front, _authority) = with_tokens(&env).await;

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let listed = api.list(&api.admin(), "a", "").await;
    let cancelled = api.cancel(&api.admin(), "a", text(&created.json, "id"), "").await;
    api.tick().await.value();
    api.function("migrate").await.invoke(&json!({})).await.value();

    assert_eq!((created.status, listed.status, cancelled.status), (201, 200, 200));
    let tokens = front.tokens();
    assert_eq!(tokens.len(), 5, "one for the connection of each function: {tokens:#?}");
    for token in &tokens {
        assert_token(token, &front, "ASIAINTHEENVIRONMENT");
    }
    api.settle().await;
    for function in harness::api::FUNCTIONS {
        for line in api.function(function).await.logs() {
            for token in &tokens {
                let signature = token.rsplit_once("X-Amz-Signature=").unwrap().1;
                assert!(!line.contains(signature), "{function} shows a token: {line}");
            }
            for (name, value) in &KEYS[1..] {
                assert!(!line.contains(value), "{function} shows {name}: {line}");
            }
        }
    }
}

/// The credentials of a container, one after the other, as long as the server gives any.
fn container(number: u32) -> String {
    json!({
        "AccessKeyId": format!("ASIANUMBER{number}"), "SecretAccessKey": "a-very-secret-key",
        "Token": "a-very-secret-session", "Expiration": "2999-01-01T00:00:00Z",
    })
    .to_string()
}

#[tokio::test]
async fn every_new_connection_has_a_token_of_its_own_from_the_credentials_of_that_moment() {
    let credentials = Recorder::answering(200, container(1)).await;
    let url = credentials.url("/role");
    let (api, front, _authority) = with_tokens(&[
        ("AWS_ACCESS_KEY_ID", None),
        ("AWS_SECRET_ACCESS_KEY", None),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Some(&url)),
    ])
    .await;

    for number in 1..=3 {
        credentials.answer_with(200, container(number));
        for _ in 0..2 {
            let listed = api.list(&api.admin(), "a", "").await;
            assert_eq!(listed.status, 200, "{listed:?}");
        }
        end_connections(&api).await;
    }

    let tokens = front.tokens();
    assert_eq!(tokens.len(), 3, "one for each connection, not for each request: {tokens:#?}");
    for (token, number) in tokens.iter().zip(1..) {
        assert_token(token, &front, &format!("ASIANUMBER{number}"));
    }
}

#[tokio::test]
async fn without_credentials_it_is_a_503_with_the_reason_and_passes_by_itself() {
    let credentials = Recorder::answering(500, "").await;
    let url = credentials.url("/role");
    let (api, front, _authority) = with_tokens(&[
        ("AWS_ACCESS_KEY_ID", None),
        ("AWS_SECRET_ACCESS_KEY", None),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Some(&url)),
        ("AWS_LAMBDA_LOG_LEVEL", None),
    ])
    .await;

    let refused = api.list(&api.admin(), "a", "").await;
    credentials.answer_with(200, container(1));
    let listed = api.list(&api.admin(), "a", "").await;

    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(listed.status, 200, "{listed:?}");
    assert_eq!(front.tokens().len(), 1);
    let reason = "there is no IAM token for the database";
    let list = api.function("list-schedules").await;
    list.wait_for_log(|line| line.contains(reason), LIMIT).await;
    let lines = list.logs();
    let told: Vec<_> = lines.iter().filter(|line| line.contains(reason)).collect();
    assert_eq!(told.len(), 1, "one line with the reason: {lines:#?}");
    assert!(told[0].contains("AWS credentials"), "{}", told[0]);
}

#[tokio::test]
async fn a_token_is_never_sent_to_a_server_that_is_not_the_right_one() {
    let database = Database::migrated().await;
    let (target, password) = server_of(&database);
    let (authority, other) = (Authority::new(), Authority::new());
    let front = Front::asking_for_tokens(target, other.server(&[HOST], NOW), &password).await;
    let url = through(&front, &database, HOST, USER);
    // A server without TLS, at the same time: PostgreSQL itself.
    let plain = format!("postgres://{USER}@{HOST}:{}/{}?hostaddr=127.0.0.1", target.port(), database.name());
    let api = service(database, &url, Some(&authority)).await;

    for url in [url, plain] {
        let env = api.env("list-schedules").set("DATABASE_AUTH", "iam").set("DATABASE_URL", url);
        let function = harness::api::checked("list-schedules").env(env).start().await.unwrap();
        let request = harness::api::list_request("a", "").bearer(&api.admin());
        let answer = harness::gateway::Response::of(function.invoke(&request.event()).await);
        assert_eq!(answer.status, 503, "{answer:?}");
    }

    assert_eq!(front.tokens(), [""; 0]);
}
