//! The server's certificate: what is good is used, everything else is refused with a reason, and shows no secret.

use harness::database::Database;
use rustls::ServerConfig;

use super::authority::{Authority, FUTURE, NOW, PAST, self_signed};
use super::tls_front::Front;
use super::{HOST, server_of, service, through};
use crate::support::{LIMIT, text, turn_on};

/// What a case is about: the server, the name it is called by, and who is trusted.
struct Case<'a> {
    server: ServerConfig,
    host: &'a str,
    trusted: Option<&'a Authority>,
}

/// A service whose database shows this certificate, and the password that nobody may see.
async fn set_up(case: Case<'_>) -> (harness::api::Api, Front, String) {
    let database = Database::migrated().await;
    let (target, password) = server_of(&database);
    let front = Front::before(target, case.server).await;
    let credentials = format!("{}:{password}", harness::postgres::SERVICE_ROLE);
    let url = through(&front, &database, case.host, &credentials);
    (service(database, &url, case.trusted).await, front, password)
}

/// Checks that nothing works, with a 503 and one line with the reason, on every function.
async fn assert_refused(what: &str, case: Case<'_>, reason: &str) {
    let (api, _front, password) = set_up(case).await;

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let tick = api.tick().await.error();
    let migrated = api.function("migrate").await.invoke(&serde_json::json!({})).await.error();

    assert_eq!(created.status, 503, "{what}: {created:?}");
    assert_eq!(text(&created.json, "code"), "service_unavailable", "{what}: {created:?}");
    assert!(
        !created.text.contains("certificate"),
        "{what}: what is wrong is the operator's to know: {created:?}"
    );
    assert_eq!(tick.error_type, "DatabaseUnavailable", "{what}: {tick}");
    assert!(migrated.message.contains(reason), "{what}: expected {reason:?} in {}", migrated.message);
    let create = api.function("create-schedule").await;
    create.wait_for_log(|line| line.contains(reason), LIMIT).await;
    let lines = create.logs();
    let told: Vec<_> = lines.iter().filter(|line| line.contains(reason)).collect();
    assert_eq!(told.len(), 1, "{what}: one line with {reason:?} in {lines:#?}");
    assert!(tick.message.contains(reason), "{what}: expected {reason:?} in {tick}");
    for function in ["create-schedule", "schedule-processor", "migrate"] {
        let lines = api.function(function).await.logs();
        let shown = lines.iter().find(|line| line.contains(&password));
        assert_eq!(shown, None, "{what}, {function} shows the password");
    }
}

#[tokio::test]
async fn the_right_certificate_is_good_for_everything() {
    let authority = Authority::new();
    let server = authority.server(&[HOST], NOW);
    let (api, _front, _) = set_up(Case { server, host: HOST, trusted: Some(&authority) }).await;

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let listed = api.list(&api.admin(), "a", "").await;
    api.tick().await.value();
    let migrated = api.function("migrate").await.invoke(&serde_json::json!({})).await.value();

    assert_eq!((created.status, listed.status), (201, 200), "{created:?} {listed:?}");
    assert_eq!(migrated["applied"], serde_json::json!([]));
}

#[tokio::test]
async fn an_address_is_as_good_as_a_name_when_the_certificate_has_it() {
    let authority = Authority::new();
    let server = authority.server(&["127.0.0.1"], NOW);
    let (api, _front, _) = set_up(Case { server, host: "127.0.0.1", trusted: Some(&authority) }).await;

    let listed = api.list(&api.admin(), "a", "").await;

    assert_eq!(listed.status, 200, "{listed:?}");
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_not_trusted_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let case = |trusted| Case { server: authority.server(&[HOST], NOW), host: HOST, trusted };

    assert_refused("another authority is trusted", case(Some(&other)), "UnknownIssuer").await;
    let (one, namesake) = (Authority::named("the same"), Authority::named("the same"));
    let forged = Case { server: namesake.server(&[HOST], NOW), host: HOST, trusted: Some(&one) };
    assert_refused("the name of a trusted one", forged, "BadSignature").await;
    assert_refused("only Amazon's and the web's are trusted", case(None), "UnknownIssuer").await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    for (names, host) in [
        (&["db.example.test"][..], HOST),
        (&["127.0.0.1"], HOST),
        (&[HOST], "127.0.0.1"),
        (&["*.localhost"], HOST),
    ] {
        let case = Case { server: authority.server(names, NOW), host, trusted: Some(&authority) };
        let what = format!("a certificate for {names:?} at {host}");
        assert_refused(&what, case, "certificate not valid for name").await;
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    for (years, reason) in [(PAST, "certificate expired"), (FUTURE, "certificate not valid yet")] {
        let case = Case { server: authority.server(&[HOST], years), host: HOST, trusted: Some(&authority) };
        assert_refused(reason, case, reason).await;
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_signed_itself_is_refused() {
    let authority = Authority::new();
    let case = Case { server: self_signed(&[HOST]), host: HOST, trusted: Some(&authority) };

    assert_refused("self-signed", case, "invalid peer certificate").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_tls_was_asked_for() {
    let database = Database::migrated().await;
    let (_, password) = server_of(&database);
    let url = format!("{}?sslmode=require", database.url());
    let api = service(database, &url, None).await;

    let listed = api.list(&api.admin(), "a", "").await;

    assert_eq!(listed.status, 503, "{listed:?}");
    let list = api.function("list-schedules").await;
    list.wait_for_log(|line| line.contains("server does not support TLS"), LIMIT).await;
    let lines = list.logs();
    let told: Vec<_> = lines.iter().filter(|line| line.contains("server does not support TLS")).collect();
    assert_eq!(told.len(), 1, "one line with the reason: {lines:#?}");
    assert!(!lines.iter().any(|line| line.contains(&password)), "{lines:#?}");
}
