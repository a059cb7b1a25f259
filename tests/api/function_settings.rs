//! Settings: a missing or bad one stops the function before its first request, with one line that names the variable.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use harness::api::FUNCTIONS;
use harness::lambda::{Env, Function};
use harness::logs::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use harness::tokens::Keys;
use serde_json::json;

/// What must never be shown.
const SECRET: &str = "topsecret";
/// `migrate` starts nevertheless, to tell CloudFormation: see its own tests.
const STOPPED: [&str; 5] =
    ["create-schedule", "list-schedules", "cancel-schedule", "schedule-processor", "verify-trail"];
const HTTP: [&str; 3] = ["create-schedule", "list-schedules", "cancel-schedule"];
const AUDITING: [&str; 3] = ["create-schedule", "cancel-schedule", "schedule-processor"];

/// Settings with which every function starts. Nobody listens at the database's address.
fn good() -> Env {
    Env::new()
        .set("DATABASE_URL", format!("postgres://service:{SECRET}@127.0.0.1:1/flags"))
        .set("AUTH_JWKS", Keys::generate().jwks().to_string())
        .set("AWS_REGION", REGION)
        .set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
}

/// Checks that each of these functions refuses to start, naming the variable.
async fn assert_refused(functions: &[&str], variable: &str, env: &Env, case: &str) {
    for function in functions {
        let exit = Function::expect_exit(function, env.clone()).await;

        assert!(exit.code.is_some_and(|code| code != 0), "{function}, {variable} {case}: {exit:?}");
        let told = exit.cause();
        assert!(told.starts_with(&format!("{variable} ")), "{function}, {variable} {case}: {exit:#?}");
        assert!(!exit.logs[0].contains(SECRET), "{function}, {variable} {case}: {exit:#?}");
    }
}

#[tokio::test]
async fn good_settings_are_enough_to_start_even_with_nothing_reachable() {
    let least = good().unset("AUTH_JWKS");

    for function in FUNCTIONS {
        let env = if HTTP.contains(&function) { good() } else { least.clone() };
        let started = Function::start(function, env).await;
        assert!(started.is_ok(), "{function}: {started:?}");
    }
    let all = good()
        .unset("AUTH_JWKS")
        .set("AUTH_JWKS_URL", "https://id.example.test/.well-known/jwks.json")
        .set("AUTH_ISSUER", "https://id.example.test")
        .set("AUTH_AUDIENCE", "flag-admin")
        .set("AUTH_USER_ID_CLAIM", "username")
        .set("AUTH_GROUPS_CLAIM", "groups")
        .set("AUTH_ADMIN_GROUPS", "ops")
        .set("AUDIT_LOG_GROUP", "/team-1/audit_log.2#x")
        .set("DATABASE_AUTH", "");
    for function in FUNCTIONS {
        let started = Function::start(function, all.clone()).await;
        assert!(started.is_ok(), "{function}: {started:?}");
    }
}

#[tokio::test]
async fn a_missing_or_bad_database_url_stops_every_function() {
    assert_refused(&STOPPED, "DATABASE_URL", &good().unset("DATABASE_URL"), "missing").await;
    for bad in [
        "",
        " ",
        "topsecret",
        "mysql://service:topsecret@127.0.0.1/flags",
        "postgres://service:topsecret@127.0.0.1:port/flags",
        "postgres://service:topsecret@127.0.0.1",
        "postgres://service:topsecret@db.example.test/flags?sslmode=disable",
        "postgres://service:topsecret@db.example.test/flags?sslmode=topsecret",
        "postgres://service:topsecret@127.0.0.1/flags?topsecret=1",
        "host=127.0.0.1 user=service password=topsecret dbname=flags",
    ] {
        let functions = ["list-schedules", "schedule-processor", "verify-trail"];
        assert_refused(&functions, "DATABASE_URL", &good().set("DATABASE_URL", bad), bad).await;
    }
}

#[tokio::test]
async fn a_parameter_of_the_database_url_that_cannot_be_used_is_named_with_what_to_use() {
    let cases = [
        (
            "postgres://service:topsecret@127.0.0.1/flags?sslrootcert=/topsecret.pem",
            "`sslrootcert`",
            "DATABASE_CA_FILE",
        ),
        (
            "postgres://service:topsecret@127.0.0.1/flags?sslcert=topsecret",
            "`sslcert`",
            "client certificates",
        ),
        (
            "postgres://service:topsecret@127.0.0.1/flags?connect_timeout=topsecret",
            "`connect_timeout`",
            "seconds",
        ),
        ("postgres://service:topsecret@127.0.0.1/flags?schema=topsecret", "`schema`", "leave it out"),
        ("mysql://service:topsecret@127.0.0.1/flags", "mysql://", "postgres://"),
    ];
    for (url, named, instead) in cases {
        let exit = Function::expect_exit("list-schedules", good().set("DATABASE_URL", url)).await;

        let told = exit.cause();
        assert!(told.starts_with("DATABASE_URL "), "{url}: {exit:#?}");
        assert!(told.contains(named) && told.contains(instead), "{url}: {exit:#?}");
        assert!(!exit.logs[0].contains(SECRET), "{url}: {exit:#?}");
    }
}

#[tokio::test]
async fn other_bad_database_settings_stop_every_function() {
    let bad_auth = good().set("DATABASE_AUTH", SECRET);
    assert_refused(&STOPPED, "DATABASE_AUTH", &bad_auth, "unknown").await;

    let remote = good().set("DATABASE_URL", format!("postgres://service:{SECRET}@db.example.test/flags"));
    for file in ["/nowhere/roots.pem", "/dev/null", "/"] {
        let env = remote.clone().set("DATABASE_CA_FILE", file);
        assert_refused(&AUDITING, "DATABASE_CA_FILE", &env, file).await;
    }
}

#[tokio::test]
async fn missing_or_bad_keys_stop_the_http_functions() {
    assert_refused(&HTTP, "AUTH_JWKS_URL", &good().unset("AUTH_JWKS"), "missing").await;
    let both = good().set("AUTH_JWKS_URL", "https://id.example.test/jwks.json");
    assert_refused(&HTTP, "AUTH_JWKS", &both, "beside AUTH_JWKS_URL").await;
    for url in [
        "jwks.json",
        "http://id.example.test/topsecret",
        "ftp://id.example.test/",
        "https://",
        "file:///etc/passwd",
    ] {
        let env = good().unset("AUTH_JWKS").set("AUTH_JWKS_URL", url);
        assert_refused(&HTTP[..1], "AUTH_JWKS_URL", &env, url).await;
    }
    let secret = json!({"keys": [{"kty": "oct", "kid": "1", "k": SECRET}]}).to_string();
    for keys in [SECRET, "{}", r#"{"keys": []}"#, "[]", &secret, "https://id.example.test/topsecret"] {
        let env = good().set("AUTH_JWKS", keys);
        assert_refused(&HTTP[..1], "AUTH_JWKS", &env, keys).await;
    }
}

#[tokio::test]
async fn groups_that_name_nobody_and_a_log_group_that_cannot_be_stop_a_function() {
    for groups in [",", " , ,, "] {
        assert_refused(&HTTP, "AUTH_ADMIN_GROUPS", &good().set("AUTH_ADMIN_GROUPS", groups), groups).await;
    }
    for group in ["with space", "colon:", &"x".repeat(513), "umlaut-ü"] {
        assert_refused(&AUDITING, "AUDIT_LOG_GROUP", &good().set("AUDIT_LOG_GROUP", group), group).await;
    }
}

/// It would count as unset, and the issuer as unchecked.
#[tokio::test]
async fn a_setting_that_is_not_utf8_stops_every_function() {
    for function in STOPPED {
        let program = harness::lambda::binary(function).unwrap_or_else(|error| panic!("{error}"));
        let mut command = std::process::Command::new(program);
        command.env_clear().env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
        command.env("AUTH_ISSUER", OsStr::from_bytes(b"https://id.example.test/topsecret\xff"));

        let output = command.output().unwrap_or_else(|error| panic!("{function}: {error}"));

        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{function}: {said}");
        assert!(said.contains("AUTH_ISSUER is not UTF-8") && !said.contains(SECRET), "{function}: {said}");
    }
}

/// Text, as `make run` shows it.
#[tokio::test]
async fn without_json_the_reason_is_a_line_for_people() {
    let env = good().unset("DATABASE_URL").set("AWS_LAMBDA_LOG_FORMAT", "Text");
    let exit = Function::expect_exit("schedule-processor", env).await;

    assert_eq!(exit.logs.len(), 1, "{exit:#?}");
    assert!(exit.logs[0].starts_with("Error: DATABASE_URL is not set"), "{exit:#?}");
}

/// Otherwise there would be an exit status, and the reason in the log alone.
#[tokio::test]
async fn who_invokes_a_function_with_a_bad_setting_is_told() {
    for function in STOPPED {
        let started = Function::start(function, good().set("DATABASE_AUTH", SECRET)).await;
        let told = started.err().unwrap_or_else(|| panic!("{function} started")).to_string();

        let expected = "Function.InvalidSetting: DATABASE_AUTH ";
        assert!(told.contains(expected) && !told.contains(SECRET), "{function}: {told}");
    }
}
