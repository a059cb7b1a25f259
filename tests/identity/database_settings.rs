//! What of `DATABASE_AUTH` cannot work stops every function at its start, with one line that names both settings.

use harness::api::FUNCTIONS;
use harness::lambda::{Env, Function};
use harness::tokens::Keys;

fn env(url: &str) -> Env {
    Env::new()
        .set("DATABASE_URL", url)
        .set("DATABASE_AUTH", "iam")
        .set("AUTH_JWKS", Keys::generate().jwks().to_string())
        .set("AWS_REGION", "eu-central-1")
}

async fn assert_refused(function: &str, env: Env, starts: &str, names: &str) {
    let exit = Function::expect_exit(function, env).await;

    assert!(exit.code.is_some_and(|code| code != 0), "{function}: {exit:?}");
    assert!(exit.cause().starts_with(&format!("{starts} ")), "{function}, {starts}: {exit:#?}");
    assert!(exit.logs[0].contains(names), "{function}, {names}: {exit:#?}");
    assert!(!exit.logs[0].contains("topsecret"), "{function}: {exit:#?}");
}

#[tokio::test]
async fn a_password_beside_iam_stops_every_function() {
    // `migrate` starts, and tells CloudFormation: see the tests of its custom resource.
    for function in FUNCTIONS.into_iter().filter(|function| *function != "migrate") {
        let env = env("postgres://service:topsecret@db.example.test/flags");
        assert_refused(function, env, "DATABASE_AUTH", "DATABASE_URL").await;
    }
    let in_the_query = env("postgres://service@db.example.test/flags?password=topsecret");
    assert_refused("verify-trail", in_the_query, "DATABASE_AUTH", "DATABASE_URL").await;
}

#[tokio::test]
async fn iam_needs_a_user_a_region_tls_and_one_host() {
    for (url, variable) in [
        ("postgres://db.example.test/flags", "DATABASE_URL"),
        ("postgres://service@localhost/flags?sslmode=disable", "DATABASE_AUTH"),
        ("postgres://service@localhost/flags?sslmode=prefer", "DATABASE_AUTH"),
        ("postgres://service@one.example.test,two.example.test/flags", "DATABASE_AUTH"),
        ("postgres://service@%2Fvar%2Frun%2Fpostgresql/flags", "DATABASE_AUTH"),
    ] {
        assert_refused("list-schedules", env(url), variable, "DATABASE_URL").await;
    }
    let unknown = env("postgres://service@db.example.test/flags").set("DATABASE_AUTH", "IAM");
    assert_refused("list-schedules", unknown, "DATABASE_AUTH", "iam").await;
    let without_region = env("postgres://service@db.example.test/flags").unset("AWS_REGION");
    assert_refused("list-schedules", without_region, "AWS_REGION", "DATABASE_AUTH").await;
}

#[tokio::test]
async fn iam_without_a_password_is_enough_to_start() {
    for function in FUNCTIONS {
        let started = Function::start(function, env("postgres://service@127.0.0.1:1/flags")).await;
        assert!(started.is_ok(), "{function}: {started:?}");
    }
}
