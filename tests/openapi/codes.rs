//! The codes that programs go by: those of the code, of `openapi.yaml` and of `problems.md` are the same.

use std::collections::{BTreeMap, BTreeSet};

use harness::openapi::{document, entries, items};
use harness::settings::workspace;
use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The literals that a function `code` in this file gives.
fn codes_in_code(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let (_, function) = text.split_once("pub fn code(&self) -> &'static str {").expect("it has a `code`");
    let (body, _) = function.split_once("\n    }\n").expect("the function ends");
    let codes: BTreeSet<String> = body.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(codes.len() > 1, "{path}: no codes in {body}");
    codes
}

/// The rows of the tables in `docs/problems.md` whose first cell is a code; each without the outer bars.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = read("docs/problems.md");
    let (_, section) = text.split_once(heading).expect("there is this section");
    let table = section.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    })
    .collect()
}

fn texts(value: &Value) -> BTreeSet<String> {
    items(value).filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn the_codes_of_problems_are_the_same_everywhere() {
    let code = codes_in_code("shared/src/http/problem.rs");
    let schemas = &document().root()["components"]["schemas"];
    let described: BTreeMap<String, String> = entries(schemas)
        .map(|(_, schema)| &schema["properties"])
        .filter_map(|properties| {
            Some((properties["code"]["const"].as_str()?, &properties["status"]["const"]))
        })
        .map(|(code, status)| (code.to_owned(), status.to_string()))
        .collect();
    let told: BTreeMap<String, String> =
        rows("# Problems").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();

    let any = items(&schemas["Problem"]["oneOf"]).map(|problem| document().resolved(problem).unwrap());
    let any = any.filter_map(|problem| problem["properties"]["code"]["const"].as_str().map(str::to_owned));
    assert_eq!(code, any.collect(), "code, openapi.yaml's list");
    assert_eq!(code, described.keys().cloned().collect(), "code, openapi.yaml's schemas");
    assert_eq!(described, told, "openapi.yaml's codes with their status, problems.md's");
}

#[test]
fn the_codes_of_failed_schedules_are_the_same_everywhere() {
    let code = codes_in_code("shared/src/domain/apply.rs");
    let described = &document().root()["components"]["schemas"]["FailureCode"]["enum"];
    let told: BTreeSet<String> = rows("## Failed schedules").into_iter().map(|row| row[0].clone()).collect();

    assert_eq!(code, texts(described), "code, openapi.yaml");
    assert_eq!(code, told, "code, problems.md");
    let events: Value = serde_json::from_str(&read("docs/audit-event.schema.json")).unwrap();
    assert_eq!(
        code,
        texts(&events["properties"]["error"]["properties"]["code"]["enum"]),
        "code, audit events"
    );
}

#[test]
fn the_headers_that_are_read_are_the_headers_that_are_described() {
    // The first is told by `security`, the second by the media types of the body.
    let mut described = BTreeSet::from(["authorization".to_owned(), "content-type".to_owned()]);
    for operation in document().operations().unwrap().values() {
        let headers = operation.parameters.iter().filter(|parameter| parameter["in"] == "header");
        described.extend(headers.filter_map(|header| header["name"].as_str()).map(str::to_lowercase));
    }

    let mut read_by_code = BTreeSet::new();
    for file in ["shared/src/http/request.rs", "shared/src/http/input.rs", "shared/src/http/auth.rs"] {
        let text = read(file);
        let names = text.split("headers.get").skip(1).filter_map(|rest| rest.split('"').nth(1));
        read_by_code.extend(names.map(str::to_lowercase));
    }

    assert_eq!(read_by_code, described);
}
