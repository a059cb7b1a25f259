//! Examples are read before anything else, so each one is valid.

use harness::openapi::{document, entries, faults};
use serde_json::Value;

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
        let bodies = operation.responses.iter().map(|(status, response)| (status.to_string(), response));
        let request =
            (!operation.request_body.is_null()).then(|| ("body".to_owned(), &operation.request_body));
        for (what, described) in bodies.chain(request) {
            let content: Vec<_> = entries(&described["content"]).collect();
            assert_eq!(content.len(), 1, "{id} {what} has one media type: {described:#}");
            let media = content[0].1;
            let named = entries(&media["examples"]).count();
            assert!(named > 0 || media.get("example").is_some(), "{id} {what} has no example");
            let described_as = described["description"].as_str().unwrap_or_default();
            assert!(!described_as.is_empty(), "{id} {what} has no description");
        }
        for (status, response) in &operation.responses {
            assert!(response["headers"].get("Cache-Control").is_some(), "{id} {status}: {response:#}");
        }
    }
}
