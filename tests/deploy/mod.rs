//! What is deployed: `template.yaml` against the functions, the routes, the settings and the audit trail of the code, and
//! against its documentation. `template` reads the file, `deployed` what SAM and CloudFormation make of it.

mod alarms;
mod arm64;
mod artifacts;
mod audit;
mod checked_deployment;
mod checked_in_time;
mod dashboard;
mod dashboard_body;
mod database_access;
pub mod deployed;
mod function_limits;
mod functions;
mod guide;
mod guide_commands;
mod http_api;
mod insights_queries;
mod lambda_api;
mod permissions;
mod releases;
mod routes;
mod sam;
mod targets;
mod template;
mod template_settings;
mod vpc;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use harness::settings::workspace;
use serde_json::Value;

/// What cargo knows of the workspace.
pub fn cargo_metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(workspace());
        output_as_json(&mut cargo, "")
    })
}

/// A YAML file of the repository.
fn yaml(file: &str) -> Value {
    harness::yaml::read(file).unwrap_or_else(|error| panic!("{error}"))
}

pub fn output_as_json(command: &mut Command, input: &str) -> Value {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A program that does not read its input says itself what is wrong.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}: {told}"))
}

/// The folders in `functions/`: one a function.
fn folders() -> BTreeSet<String> {
    let folder = workspace().join("functions");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entries = entries.map(|entry| entry.expect("a folder of the repository can be read"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A text in a document.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
