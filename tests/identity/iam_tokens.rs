//! IAM tokens are byte for byte those of Amazon's own library, at any time, for any user and host.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use flag_schedules::adapters::postgres::iam::{DatabaseUser, token};
use serde_json::{Value, json};

use super::python;

/// As AWS gives them out for a role: with all that has to be escaped in a query.
const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+a/b==&x=1%2F é";

fn cases() -> Vec<Value> {
    let usual = json!({
        "host": "flags.cluster-cq1example.eu-central-1.rds.amazonaws.com", "port": 5432, "user": "flag_schedules_api",
        "region": "eu-central-1", "access_key_id": "ASIAIOSFODNN7EXAMPLE",
        "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session_token": SESSION_TOKEN, "now": 1_770_000_000,
    });
    let changed = |changes: Value| {
        let mut case = usual.clone();
        case.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        case
    };
    vec![
        usual.clone(),
        changed(json!({"session_token": null})),
        changed(
            json!({"port": 6543, "host": "flags.proxy-cq1example.us-gov-west-1.rds.amazonaws.com", "region": "us-gov-west-1"}),
        ),
        changed(json!({"host": "db.example.test", "region": "cn-north-1"})),
        changed(json!({"user": "a b+c&d=e/f?g#h%i:j@k~l-m_n.o*p'q\"r"})),
        changed(json!({"user": "größe 数据库 🦀"})),
        changed(json!({"user": "Ünïcode\tand\nlines"})),
        changed(json!({"secret_access_key": "+/=&?% é", "access_key_id": "AKIA/with+odd=signs"})),
        // The first second of a day and of a year, a leap day, and a time beyond 32 bits.
        changed(json!({"now": 1_767_225_600})),
        changed(json!({"now": 1_835_481_599})),
        changed(json!({"now": 4_102_444_800_u64})),
    ]
}

fn ours(case: &Value) -> String {
    let text = |key: &str| case[key].as_str().map(str::to_owned);
    let subject = DatabaseUser {
        host: text("host").unwrap(),
        port: u16::try_from(case["port"].as_u64().unwrap()).unwrap(),
        user: text("user").unwrap(),
        region: text("region").unwrap(),
    };
    let credentials = Credentials::new(
        text("access_key_id").unwrap(),
        text("secret_access_key").unwrap(),
        text("session_token"),
        None,
        "a test",
    );
    let now = UNIX_EPOCH + Duration::from_secs(case["now"].as_u64().unwrap());
    token(&subject, credentials, now).unwrap_or_else(|error| panic!("{case:#}: {error:?}"))
}

/// The tokens that botocore makes of these cases.
fn theirs(cases: &[Value]) -> Vec<String> {
    let script = harness::settings::workspace().join("tests/identity/tokens.py");
    let mut python =
        Command::new(python()).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(json!(cases).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "tokens.py failed, its error output is above");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn tokens_are_byte_for_byte_those_of_botocore() {
    let cases = cases();

    let theirs = theirs(&cases);

    assert_eq!(theirs.len(), cases.len());
    for (case, theirs) in cases.iter().zip(theirs) {
        assert_eq!(ours(case), theirs, "{case:#}");
    }
}

#[test]
fn a_token_is_for_one_host_port_user_region_and_time() {
    let usual = &cases()[0];
    let token = ours(usual);
    for (key, other) in [
        ("host", json!("other.example.test")),
        ("port", json!(5433)),
        ("user", json!("flag_schedules_processor")),
        ("region", json!("eu-west-1")),
        ("secret_access_key", json!("another")),
        ("now", json!(1_770_000_001)),
    ] {
        let mut case = usual.clone();
        case[key] = other;
        let signature = |token: &str| token.rsplit_once("&X-Amz-Signature=").unwrap().1.to_owned();
        assert_ne!(signature(&ours(&case)), signature(&token), "{key} is not signed");
    }
}

#[test]
fn a_host_that_is_none_is_told_and_nothing_of_the_credentials() {
    let subject =
        DatabaseUser { host: "not a host".into(), port: 1, user: "u".into(), region: "eu-west-1".into() };
    let credentials = Credentials::new("AKIDEXAMPLE", "topsecret", Some("topsecret".into()), None, "a test");

    let error = token(&subject, credentials, UNIX_EPOCH).unwrap_err();

    let told = flag_schedules::error::chain(&error);
    assert!(told.starts_with("it cannot be signed: "), "{told}");
    assert!(!format!("{told} {error:?}").contains("topsecret"), "{told}");
}
