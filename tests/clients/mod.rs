//! Clients that generators make from `docs/openapi.yaml`, run against the service: what `docs/clients.md` shows, and
//! create, list, cancel, a problem, and what API Gateway answers itself, which a typed client must get along with.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use harness::api::Api;
use harness::front::Front;
use harness::http::server::{Server, reply_json};
use harness::scratch::Scratch;
use harness::settings::{path, tool, workspace};
use serde_json::json;
use tokio::process::Command;

use crate::onboarding::blocks::blocks;

const GUIDE: &str = "docs/clients.md";

/// The service behind HTTP, and a gateway whose answers never come from it.
struct Services {
    api: Arc<Api>,
    front: Front,
    gateway: Server,
}

impl Services {
    async fn start() -> Self {
        let api = Arc::new(Api::start().await);
        api.flag("new-checkout", "production").await;
        let front = Front::of(Arc::clone(&api)).await;
        // `/503/api/admin/…` is answered with 503.
        let gateway = Server::start(|request| async move {
            let status = request.uri().path().split('/').nth(1).and_then(|status| status.parse().ok());
            Ok::<_, Infallible>(reply_json(status.unwrap_or(404), &json!({"message": "from the gateway"})))
        });
        Self { api, front, gateway: gateway.await.unwrap() }
    }

    /// Runs a program in a folder and returns what it prints; it inherits nothing of ours.
    async fn run(&self, program: &Path, arguments: &[&Path], folder: &Path) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            // The generator formats what it makes with the `ruff` of its own packages.
            .env("PATH", format!("{}:{}", workspace().join(".venv/bin").display(), path()))
            .env("HOME", folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", folder)
            .env("API_URL", self.front.url())
            .env("ADMIN_TOKEN", self.api.admin())
            .env("GATEWAY_URL", self.gateway.url())
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{} {arguments:?} ended with {}:\n{told}\n{errors}\n\
             `make test T=clients::` installs the generators and runs these tests alone",
            program.display(),
            output.status
        );
        told
    }
}

/// The example of the guide in this language.
fn example(language: &str) -> String {
    let mut found = blocks(GUIDE).into_iter().filter(|block| block.language == language);
    found.next().unwrap_or_else(|| panic!("{GUIDE} has no example in {language}")).text
}

fn copied(file: &str, folder: &Path) {
    let from = workspace().join("tests/clients").join(file);
    fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
}

#[tokio::test]
async fn the_generated_typescript_client_is_typed_and_copes_with_every_answer() {
    let services = Services::start().await;
    let scratch = Scratch::create(None).unwrap();
    let folder = scratch.path();
    copied("typescript/package.json", folder);
    copied("typescript/tsconfig.json", folder);
    copied("typescript/session.ts", folder);
    fs::write(folder.join("example.ts"), example("ts")).unwrap();

    let runner = workspace().join("tests/local-stack/node.py");
    let arguments = [&runner, Path::new("tests/clients/typescript"), Path::new("run.mjs"), folder];
    let told = services.run(&tool("python").unwrap(), &arguments, folder).await;

    assert!(told.contains("is pending, enabled: true"), "the guide's example printed:\n{told}");
    assert!(told.contains("the session is over"), "{told}");
}

#[tokio::test]
async fn the_generated_python_client_is_typed_and_copes_with_every_answer() {
    let services = Services::start().await;
    let scratch = Scratch::create(None).unwrap();
    let folder = scratch.path();
    copied("python/session.py", folder);
    fs::write(folder.join("example.py"), example("python")).unwrap();

    let description = workspace().join(harness::openapi::FILE);
    let generate =
        ["generate", "--fail-on-warning", "--meta", "none", "--output-path", "flag_schedules", "--path"];
    let arguments: Vec<_> = generate.iter().map(Path::new).chain([description.as_path()]).collect();
    services.run(&tool("openapi-python-client").unwrap(), &arguments, folder).await;
    let python = tool("python").unwrap();
    let told = services.run(&python, &[Path::new("example.py")], folder).await;
    assert!(told.contains("is pending"), "the guide's example printed:\n{told}");
    services.run(&python, &[Path::new("session.py")], folder).await;
}
