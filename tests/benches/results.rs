//! The figures as JSON, for the pictures: one file for each major version of PostgreSQL, to which each run adds.

use std::path::PathBuf;

use harness::settings::{self, workspace};
use serde_json::{Map, Value, json};

use crate::table::Table;

/// The file of one version: an object with a member for each subject that has ever been measured.
pub struct Results(PathBuf);

impl Results {
    /// Of a version such as `18.4`.
    pub fn of(version: &str) -> Self {
        let target = settings::get("CARGO_TARGET_DIR").unwrap_or_else(|| "target".to_owned());
        let major = version.split('.').next().unwrap_or_default();
        Self(workspace().join(target).join("bench").join(format!("{major}.json")))
    }

    /// Replaces what is known of a subject, and leaves all others.
    pub fn keep(&self, subject: &str, machine: &str, table: &Table) {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let mut all: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        let mut measured = table.json();
        measured["machine"] = json!(machine);
        all.insert(subject.to_owned(), measured);
        let written = std::fs::create_dir_all(self.0.parent().unwrap_or(&self.0))
            .and_then(|()| std::fs::write(&self.0, Value::from(all).to_string()));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
    }
}
