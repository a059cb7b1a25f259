//! YAML files of the repository, read by the pinned tools' Python, which has a YAML library anyway.

use std::process::Command;

use serde_json::Value;

use crate::error::{Doing, Error, Result};
use crate::settings::{tool, workspace};

/// Reads a file by its path in the repository.
///
/// # Errors
/// When it is not there or is not YAML, or `make setup` has not been run.
pub fn read(file: &str) -> Result<Value> {
    let mut python = Command::new(tool("python")?);
    python.arg(workspace().join("tests/harness/to_json.py")).arg(workspace().join(file));
    let output = python.output().doing(|| format!("cannot read {file}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        let why = told.trim().lines().last().unwrap_or_default().to_owned();
        return Err(Error::new(format!("cannot read {file}: {why}")));
    }
    serde_json::from_slice(&output.stdout).doing(|| format!("cannot read {file}"))
}
