//! The only reader of the environment in the harness and the local stack.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A superuser's URL of the server that the tests use.
pub const TEST_DATABASE_URL: &str = "TEST_DATABASE_URL";
/// The same server as the service's own role sees it.
pub const TEST_SERVICE_DATABASE_URL: &str = "TEST_SERVICE_DATABASE_URL";
/// Name of the migrated database that every test's own database is cloned from.
pub const TEST_TEMPLATE_DATABASE: &str = "TEST_TEMPLATE_DATABASE";
/// Address of the CloudWatch Logs emulator.
pub const TEST_LOGS_ENDPOINT: &str = "TEST_LOGS_ENDPOINT";
/// `system` takes the machine's PostgreSQL instead of the one in `.venv`.
pub const TEST_POSTGRES: &str = "TEST_POSTGRES";
/// How many requests schemathesis makes for each operation.
pub const SCHEMATHESIS_EXAMPLES: &str = "SCHEMATHESIS_EXAMPLES";
/// Where the binaries of the functions are, when not beside the running program.
pub const FUNCTIONS_DIR: &str = "FUNCTIONS_DIR";

/// A variable that is set, is valid UTF-8 and not empty.
pub fn get(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment in the harness")]
    let value = std::env::var(name).ok();
    value.filter(|value| !value.is_empty())
}

/// All variables that are valid UTF-8.
pub fn all() -> impl Iterator<Item = (String, String)> {
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment in the harness")]
    let variables = std::env::vars_os();
    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A variable that `stack test` sets.
pub fn of_the_test_stack(name: &str) -> String {
    get(name).unwrap_or_else(|| {
        panic!("{name} is not set: run the tests with `make test`, one of them with `make test T=<its name>`")
    })
}

/// The search path for programs, the only thing that started processes inherit.
pub fn path() -> String {
    get("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

/// The folder of the workspace: around the current one, wherever this program was built.
pub fn workspace() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|folder| folder.join("tests/local-stack").is_dir());
    found.map_or_else(|| here.clone(), Path::to_owned)
}

/// A program of the pinned tools in `.venv`.
pub fn tool(name: &str) -> Result<PathBuf> {
    let program = workspace().join(".venv/bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    Err(Error::new(format!("{} is missing: run `make setup`", program.display())))
}

/// Where cargo put the functions' binaries: `FUNCTIONS_DIR`, or beside this program.
pub fn functions_dir() -> Result<PathBuf> {
    if let Some(folder) = get(FUNCTIONS_DIR) {
        return Ok(folder.into());
    }
    let mut folder = std::env::current_exe().map_err(|e| Error::because("cannot find this program", e))?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder)
}
