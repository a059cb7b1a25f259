//! Every audit event that a test reads is checked against the published schema, whatever the test is about.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::settings;

/// Checks one event against `docs/audit-event.schema.json`.
pub fn assert_valid(event: &Value) {
    let faults: Vec<String> =
        schema().iter_errors(event).map(|fault| format!("{} {fault}", fault.instance_path())).collect();
    assert!(
        faults.is_empty(),
        "an audit event does not fit its schema:\n  {}\n{event:#}",
        faults.join("\n  ")
    );
}

fn schema() -> &'static Validator {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let path = settings::workspace().join("docs/audit-event.schema.json");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let schema =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&schema).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}
