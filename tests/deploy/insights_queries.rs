//! The queries for people are in CloudWatch Logs Insights as they are in the documentation.

use std::collections::BTreeMap;

use serde_json::json;

use super::deployed::deployed;
use super::guide::document;
use super::text;

#[test]
fn the_saved_queries_are_those_of_the_documentation() {
    let deployed = deployed(&[]);
    let mut saved = BTreeMap::new();
    for (id, query) in deployed.all("AWS::Logs::QueryDefinition") {
        let name = text(&query["Name"]).strip_prefix("flags/");
        let name = name.unwrap_or_else(|| panic!("{id} is not in the stack's folder"));
        assert_eq!(query["LogGroupNames"], json!([{"Ref": "AuditLogGroup"}]), "{id}");
        saved.insert(name.to_owned(), text(&query["QueryString"]).to_owned());
    }

    // Each query's name stands bold above it.
    let documentation = document("docs/audit-events.md");
    let (_, queries) = documentation.split_once("\n## Queries to paste\n").unwrap_or_default();
    let mut told = BTreeMap::new();
    for part in queries.split("**`").skip(1) {
        let (name, rest) = part.split_once("`**").unwrap_or_default();
        let query = rest.split_once("```text\n").and_then(|(_, query)| query.split_once("\n```"));
        let (query, _) = query.unwrap_or_else(|| panic!("no query follows the name {name}"));
        assert_eq!(told.insert(name.to_owned(), query.to_owned()), None, "{name} stands there twice");
    }

    assert_eq!(saved, told, "left: template.yaml, right: docs/audit-events.md");
    assert!(saved.len() >= 8, "{:?}", saved.keys());
}
