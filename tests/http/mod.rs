//! The session that people click through in an editor is sent as it stands, with the expectations that stand in it.

mod session;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use harness::api::{Api, ENDPOINTS};
use harness::front::Front;
use harness::http::{self, Answer};
use harness::settings::workspace;
use hyper::Method;
use serde_json::Value;

use crate::support::LIMIT;
use session::{Session, Step, parse};
use variables::{Exchange, Variables, header, json_at};

const FILE: &str = "tests/http/feature-flag-scheduling.http";

fn read() -> Session {
    let text =
        std::fs::read_to_string(workspace().join(FILE)).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    parse(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
}

/// Whether an answer is as expected; `expected` has no variables any more.
fn check(expected: &str, answer: &Answer) -> Result<(), String> {
    let (what, wanted, equal) = match (expected.split_once(" != "), expected.split_once(" = ")) {
        (Some((what, wanted)), _) => (what.trim(), wanted, false),
        (None, Some((what, wanted))) => (what.trim(), wanted, true),
        (None, None) => ("status", expected, true),
    };
    let (found, wanted) = if what == "status" {
        (Value::from(answer.status.as_u16()), serde_json::from_str(wanted).unwrap_or_default())
    } else if let Some(name) = what.strip_prefix("header ") {
        (header(answer, name).into(), Value::from(wanted))
    } else {
        let wanted =
            serde_json::from_str(wanted).map_err(|error| format!("{wanted} is not JSON: {error}"))?;
        (json_at(answer, what).ok_or_else(|| format!("expected {expected}, but there is no {what}"))?, wanted)
    };
    if (found == wanted) == equal { Ok(()) } else { Err(format!("expected {expected}, got {found}")) }
}

async fn send(step: &Step, variables: &mut Variables) -> Result<Answer, String> {
    let url = variables.fill(&step.url)?;
    let mut sent = Vec::new();
    for (name, value) in &step.headers {
        sent.push((name.clone(), variables.fill(value)?));
    }
    let body = variables.fill(&step.body)?;
    let method: Method = step.method.parse().map_err(|_| format!("{} is no method", step.method))?;
    let headers: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = http::send(method, &url, &headers, body, LIMIT).await.map_err(|error| error.to_string())?;
    if let Some(name) = &step.name {
        let kept =
            Answer { status: answer.status, headers: answer.headers.clone(), body: answer.body.clone() };
        variables.exchanges.insert(name.clone(), Exchange { sent, answer: kept });
    }
    Ok(answer)
}

#[tokio::test]
async fn the_session_in_the_http_file_goes_as_it_says() {
    let api = Arc::new(Api::start().await);
    api.flag("new-checkout", "production").await;
    let front = Front::of(Arc::clone(&api)).await;
    let session = read();
    // What `make run` writes into `.local/env`.
    let user = api.token().user("user-1").groups(&[]).sign();
    let settings = [("API_URL", front.url()), ("ADMIN_TOKEN", api.admin()), ("USER_TOKEN", user)];
    let mut variables = Variables {
        dotenv: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        file: session.variables.into_iter().collect(),
        exchanges: BTreeMap::new(),
    };

    for step in &session.requests {
        let title = format!("{FILE}, {}", step.title);
        let answer = send(step, &mut variables).await.unwrap_or_else(|error| panic!("{title}: {error}"));
        for expected in &step.expected {
            let checked = variables.fill(expected).and_then(|expected| check(&expected, &answer));
            checked.unwrap_or_else(|fault| {
                panic!("{title}\n  {fault}\n  in {} {}", answer.status, answer.text())
            });
        }
    }
}

#[test]
fn the_session_reaches_every_endpoint_and_expects_a_status_of_every_request() {
    let session = read();

    for step in &session.requests {
        let statuses = step.expected.iter().filter(|expected| expected.parse::<u16>().is_ok()).count();
        assert_eq!(statuses, 1, "{}: it has one `@expect` with a status", step.title);
        assert!(
            step.expected.len() > 1 || step.method == "GET",
            "{}: a status alone says little",
            step.title
        );
    }
    let methods: BTreeSet<&str> = session.requests.iter().map(|step| step.method.as_str()).collect();
    assert_eq!(methods, ENDPOINTS.map(|(method, ..)| method).into());
}

#[test]
fn the_session_finds_the_settings_of_the_running_stack() {
    let link = std::fs::read_link(workspace().join("tests/http/.env"));

    let target = link.expect("tests/http/.env is a link");

    assert_eq!(target, std::path::Path::new("../../.local/env"), "where `make run` writes its settings");
}

#[test]
fn an_expectation_that_is_not_met_is_told() {
    let answer = || Answer {
        status: hyper::StatusCode::OK,
        headers: [(hyper::header::CONTENT_TYPE, "application/json".parse().unwrap())].into_iter().collect(),
        body: br#"{"a": [{"b": null}], "c": "d"}"#.to_vec().into(),
    };

    for met in
        ["200", "header content-type = application/json", "$.a[0].b = null", "$.c = \"d\"", "$.c != null"]
    {
        assert_eq!(check(met, &answer()), Ok(()), "{met}");
    }
    let missed = [
        ("201", "expected 201, got 200"),
        ("two hundred", "expected two hundred, got 200"),
        ("header location = /", "expected header location = /, got null"),
        ("$.a[0].b != null", "expected $.a[0].b != null, got null"),
        ("$.c = \"e\"", "expected $.c = \"e\", got \"d\""),
        ("$.e = null", "expected $.e = null, but there is no $.e"),
        ("$.c = d", "d is not JSON: expected value at line 1 column 1"),
    ];
    for (expected, told) in missed {
        assert_eq!(check(expected, &answer()), Err(told.to_owned()), "{expected}");
    }
}
