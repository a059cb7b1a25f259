//! Requests that nobody thought of: schemathesis makes them from the description, valid ones and others, and holds the
//! answers against it. `schemathesis.toml` says which checks are off and why.

use std::process::Stdio;
use std::sync::Arc;

use harness::api::Api;
use harness::front::Front;
use harness::scratch::Scratch;
use harness::settings;
use tokio::process::Command;

/// Requests for each operation in each phase, unless `SCHEMATHESIS_EXAMPLES` says otherwise.
const EXAMPLES: &str = "60";
/// The same requests in every run; another seed, other requests.
const SEED: &str = "20260209";

#[tokio::test]
async fn schemathesis_finds_no_answer_that_is_not_as_described() {
    let api = Arc::new(Api::start().await);
    for environment in ["production", "staging"] {
        // The keys that `schemathesis.toml` names.
        for flag in ["new-checkout", "dark mode/é%"] {
            api.flag(flag, environment).await;
        }
    }
    let front = Front::of(Arc::clone(&api)).await;
    let scratch = Scratch::create(None).unwrap();
    let here = settings::workspace().join("tests/openapi");

    let run = Command::new(settings::tool("schemathesis").unwrap())
        .arg("--config-file")
        .arg(here.join("schemathesis.toml"))
        .arg("run")
        .arg(settings::workspace().join(harness::openapi::FILE))
        .args(["--url", &front.url(), "--header", &format!("Authorization: Bearer {}", api.admin())])
        .args(["--seed", SEED, "--no-color", "--max-examples"])
        .arg(settings::get(settings::SCHEMATHESIS_EXAMPLES).unwrap_or_else(|| EXAMPLES.to_owned()))
        // What it and its libraries keep goes where it is removed; nothing of ours is inherited.
        .env_clear()
        .env("PATH", settings::path())
        .env("HOME", scratch.path())
        .env("HYPOTHESIS_STORAGE_DIRECTORY", scratch.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", &here)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("COLUMNS", "120")
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();

    let report = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "schemathesis ended with {}:\n{report}\n{errors}", run.status);
    // It got further than to be refused.
    let sql = "select count(*) filter (where status = 'pending'), count(*) filter (where status = 'cancelled') \
               from feature_flag_schedules";
    let row = api.database.connect().await.query_one(sql, &[]).await.unwrap();
    let (pending, cancelled) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    assert!(
        pending > 0 && cancelled > 0,
        "it created {pending} and cancelled {cancelled} schedules:\n{report}"
    );
}
