//! The Runtime Interface Emulator, which AWS ships in the Python package `aws-sam-cli`.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use common::http::send;
use common::settings::workspace;
use hyper::Method;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::{Observed, TIMEOUT, probe};

/// A running emulator with the function. Dropping it ends it.
pub struct Rie {
    url: String,
    _process: Child,
}

impl Rie {
    /// Starts it; it starts the function with the first event.
    pub async fn start(env: &[(&str, &str)]) -> Self {
        let host = own_address();
        let ports = [free_port(&host), free_port(&host)].map(|port| format!("{host}:{port}"));
        let mut command = Command::new(program());
        command
            .args(["--runtime-interface-emulator-address", &ports[0], "--runtime-api-address", &ports[1]])
            .arg(probe())
            .env_clear()
            .env("AWS_LAMBDA_FUNCTION_NAME", "probe")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", TIMEOUT.as_secs().to_string())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().unwrap();
        let listens = async {
            while tokio::net::TcpStream::connect(&ports[0]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), listens).await.expect("the RIE listens");
        let url = format!("http://{}/2015-03-31/functions/function/invocations", ports[0]);
        Self { url, _process: process }
    }

    /// Invokes the function. The status is always 200: what went wrong is in the body.
    pub async fn invoke(&self, event: &Value) -> Observed {
        let answer = send(Method::POST, &self.url, &[], event.to_string(), Duration::from_secs(30)).await;
        let text = answer.unwrap().text();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        match value["errorType"].as_str() {
            Some(error_type) => Observed::Error(error_type.to_owned()),
            None if text.starts_with("Task timed out") => Observed::TimedOut,
            None => Observed::Result(value),
        }
    }
}

fn program() -> PathBuf {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let lib = workspace().join(".venv-rie/lib");
    let pythons = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut programs = pythons.map(|python| {
        python.path().join(format!("site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}"))
    });
    programs
        .find(|program| program.exists())
        .unwrap_or_else(|| panic!("there is no RIE in {}: run `make setup`", lib.display()))
}

/// A loopback address that no other emulator has: between the choice of a free port and its use, nobody else may take it.
/// The emulator is a Linux program, and Linux answers on all of 127.0.0.0/8.
fn own_address() -> String {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [low, high, ..] = std::process::id().to_le_bytes();
    format!("127.{}.{}.{}", 1 + high % 250, 1 + low % 250, 1 + LAST.fetch_add(1, Ordering::Relaxed) % 250)
}

fn free_port(host: &str) -> u16 {
    std::net::TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}
