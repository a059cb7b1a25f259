//! Every answer that a test gets from the HTTP functions is held against `docs/openapi.yaml`, whatever the test is
//! about, and so is every request that was carried out: what the service accepts has to be described as well.

mod document;
mod exchange;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

pub use document::{Document, Operation, entries, faults, items};
use exchange::Contract;

use crate::api::ENDPOINTS;
use crate::yaml;

/// The description's path in the repository.
pub const FILE: &str = "docs/openapi.yaml";

pub fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(yaml::read(FILE).unwrap_or_else(|error| panic!("{error}"))))
}

/// Checks what a function made of an event. Functions that are no endpoint are not described.
pub fn assert_described(function: &str, event: &Value, answer: &Value) {
    let faults = faults_of(function, event, answer);
    assert!(
        faults.is_empty(),
        "what {function} did is not what {FILE} says:\n  {}\nrequest: {event:#}\nanswer: {answer:#}",
        faults.join("\n  ")
    );
}

/// What [`assert_described`] finds. An event that names no route of the function is taken for its first one.
pub fn faults_of(function: &str, event: &Value, answer: &Value) -> Vec<String> {
    let routes = || ENDPOINTS.iter().filter(|(.., name)| *name == function);
    let routes = || routes().map(|(method, path, _)| format!("{method} {path}"));
    let route = routes().find(|route| event["routeKey"] == route.as_str()).or_else(|| routes().next());
    let contract = route.and_then(|route| contracts().get(&route));
    contract.map_or_else(Vec::new, |contract| contract.faults(event, answer))
}

/// By route: `GET /api/admin/schedules`.
fn contracts() -> &'static BTreeMap<String, Contract> {
    static CONTRACTS: OnceLock<BTreeMap<String, Contract>> = OnceLock::new();
    CONTRACTS.get_or_init(|| {
        let operations = document().operations().unwrap_or_else(|error| panic!("{FILE}: {error}"));
        let contract = |operation: Operation| {
            let route = format!("{} {}", operation.method, operation.path);
            let contract = Contract::new(document(), operation);
            (route, contract.unwrap_or_else(|error| panic!("{FILE}: {error}")))
        };
        operations.into_values().map(contract).collect()
    })
}
