//! CloudWatch Logs by somebody else: the emulator `moto_server`, and a client that reads what arrived.

mod group;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

pub use group::{LogGroup, Record};

use crate::error::{Doing, Error, Result};
use crate::guard::{Guarded, Spec};
use crate::{http, settings};

/// The region of everything local.
pub const REGION: &str = "us-east-1";
/// Access key id of everything local.
pub const ACCESS_KEY_ID: &str = "local";
/// Secret key of everything local: not a secret.
pub const SECRET_ACCESS_KEY: &str = "local-not-a-secret";

/// A running emulator. Dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    guarded: Guarded,
    endpoint: String,
}

impl Emulator {
    /// Starts it on a port that it chooses itself, and waits until it listens. `folder` takes its log;
    /// `orphans` are files and folders to remove when its owner is killed.
    ///
    /// # Errors
    /// When `moto_server` is missing or does not start.
    pub async fn start(folder: &Path, orphans: &[PathBuf]) -> Result<Self> {
        let log = folder.join("moto.log");
        // What an earlier run left would be taken for this one's address.
        let _ = std::fs::remove_file(&log);
        let mut guarded = Guarded::start(Spec {
            what: "the CloudWatch Logs emulator".to_owned(),
            program: settings::tool("moto_server")?,
            args: ["-H", "127.0.0.1", "-p", "0"].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]),
            cwd: folder.to_owned(),
            stop_with: "TERM",
            log: log.clone(),
            orphans: orphans.to_vec(),
            user: None,
        })?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let endpoint = loop {
            if guarded.has_ended() {
                return Err(guarded.failure("did not start"));
            }
            if let Some(endpoint) = announced(&log) {
                break endpoint;
            }
            if Instant::now() > deadline {
                return Err(guarded.failure("did not start within a minute"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        // The first request loads the service's code, which takes a second that no test should pay.
        Logs::at(&endpoint).call("DescribeLogGroups", json!({})).await?;
        Ok(Self { guarded, endpoint })
    }

    /// Its address, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client for it.
    pub fn client(&self) -> Logs {
        Logs::at(&self.endpoint)
    }

    /// Waits until it ends by itself. Cancel-safe.
    pub async fn ended(&mut self) -> Error {
        self.guarded.ended().await
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.guarded.stop().await;
    }
}

/// The address in the emulator's own log: with port 0 only it knows.
fn announced(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let (_, address) = text.split_once("Running on ")?;
    address.contains('\n').then(|| address.lines().next().unwrap_or_default().trim().to_owned())
}

/// A client of the CloudWatch Logs wire protocol.
#[derive(Clone, Debug)]
pub struct Logs {
    endpoint: String,
}

impl Logs {
    /// A client for the service at `endpoint`.
    pub fn at(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned() }
    }

    /// Its address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One call: `CreateLogGroup`, `PutLogEvents`, …
    ///
    /// # Errors
    /// When the service is not there or answers with an error.
    pub async fn call(&self, action: &str, body: Value) -> Result<Value> {
        let target = format!("Logs_20140328.{action}");
        // The emulator reads the region from the credential and does not check the signature.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260101/{REGION}/logs/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
            ("authorization", authorization.as_str()),
        ];
        let limit = Duration::from_secs(30);
        let answer = http::send(Method::POST, &self.endpoint, &headers, body.to_string(), limit).await?;
        if !answer.status.is_success() {
            return Err(Error::new(format!("{action} was refused: {} {}", answer.status, answer.text())));
        }
        match answer.body.is_empty() {
            true => Ok(Value::Null),
            false => {
                serde_json::from_slice(&answer.body).doing(|| format!("the answer to {action} is not JSON"))
            }
        }
    }
}
