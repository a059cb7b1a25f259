//! Examples are read before anything else, so each one is valid.

use harness::openapi::{Operation, document, entries, faults};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
/// Statuses that API Gateway answers itself.
const GATEWAY: [u16; 7] = [401, 403, 404, 413, 429, 500, 503];

/// Every example of the description with its schema and where it stands.
fn examples<'a>(place: &str, holder: &'a Value, found: &mut Vec<(String, &'a Value, &'a Value)>) {
    let document = document();
    let schema = &holder["schema"];
    if holder.get("example").is_some() {
        found.push((place.to_owned(), schema, &holder["example"]));
    }
    for (name, example) in entries(&holder["examples"]) {
        let example = document.resolved(example).unwrap();
        found.push((format!("{place} {name}"), schema, &example["value"]));
    }
    if schema.get("default").is_some() {
        found.push((format!("{place}, default"), schema, &schema["default"]));
    }
    for part in ["headers", "content"] {
        for (name, inner) in entries(&holder[part]) {
            examples(&format!("{place} {name}"), document.resolved(inner).unwrap(), found);
        }
    }
}

#[test]
fn every_documented_example_is_valid() {
    let operations = document().operations().unwrap();
    let mut found = Vec::new();
    for (id, operation) in &operations {
        examples(&format!("{id} body"), &operation.request_body, &mut found);
        operation.parameters.iter().for_each(|parameter| {
            examples(&format!("{id} {}", parameter["name"]), parameter, &mut found);
        });
        for (status, response) in &operation.responses {
            examples(&format!("{id} {status}"), response, &mut found);
        }
    }

    for (place, schema, example) in &found {
        let validator = document().validator(schema).unwrap_or_else(|error| panic!("{place}: {error}"));
        let faults = faults(&validator, example);
        assert!(
            faults.is_empty(),
            "the example of {place} is not valid:\n  {}\n{example:#}",
            faults.join("\n  ")
        );
    }
}

#[test]
fn every_body_has_an_example_and_every_answer_says_how_long_it_may_be_kept() {
    let operations = document().operations().unwrap();
    for (id, operation) in &operations {
        if !operation.request_body.is_null() {
            assert_media_types(&format!("{id} body"), &operation.request_body, &[&[JSON]]);
        }
        for (status, response) in &operation.responses {
            let place = format!("{id} {status}");
            let allowed: &[&[&str]] = match status {
                400.. if GATEWAY.contains(status) => &[&[JSON, PROBLEM], &[JSON]],
                400.. => &[&[PROBLEM]],
                _ => &[&[JSON]],
            };
            let is_the_gateways = assert_media_types(&place, response, allowed) == [JSON] && *status >= 400;
            let says_how_long = response["headers"].get("Cache-Control").is_some();
            assert_eq!(says_how_long, !is_the_gateways, "{place}: {response:#}");
        }
    }
}

/// Each with an example; returns what it found of what may be there.
fn assert_media_types<'a>(place: &str, described: &'a Value, allowed: &[&[&str]]) -> Vec<&'a str> {
    let content: Vec<_> = entries(&described["content"]).collect();
    for (media_type, media) in &content {
        let named = entries(&media["examples"]).count();
        assert!(named > 0 || media.get("example").is_some(), "{place} {media_type} has no example");
    }
    let described_as = described["description"].as_str().unwrap_or_default();
    assert!(!described_as.is_empty(), "{place} has no description");
    let found: Vec<&str> = content.into_iter().map(|(media_type, _)| media_type.as_str()).collect();
    assert!(allowed.contains(&found.as_slice()), "{place} has {found:?}, not one of {allowed:?}");
    found
}

/// A client that takes one schema for each status must get along with what the gateway answers itself.
#[test]
fn every_operation_describes_what_the_gateway_answers_itself() {
    let message = json!({"message": "…"});
    for (id, Operation { responses, .. }) in &document().operations().unwrap() {
        for status in GATEWAY {
            let place = format!("{id} {status}");
            let content = &responses.get(&status).unwrap_or_else(|| panic!("{place} is missing"))["content"];
            let allows = |media_type: &str, value: &Value| {
                document().validator(&content[media_type]["schema"]).unwrap().is_valid(value)
            };
            assert!(allows(JSON, &message), "{place}: {content:#}");

            let Some(problem) = content.get(PROBLEM) else { continue };
            assert!(!allows(PROBLEM, &message), "{place}: {content:#}");
            let mut found = Vec::new();
            examples(&place, problem, &mut found);
            assert!(
                !found.is_empty() && found.iter().all(|(_, _, example)| allows(JSON, example)),
                "{place}"
            );
        }
    }
}
