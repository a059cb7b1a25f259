//! CloudWatch Logs by another implementation: the emulator `moto_server`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloudwatch_stand_in::logs_client::Logs;
use common::error::{Error, Result};
use common::settings;
use serde_json::json;

use crate::guard::{Guarded, Spec};

/// A running emulator. Dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    guarded: Guarded,
    endpoint: String,
}

impl Emulator {
    /// Starts it on a port that it chooses itself, and waits until it listens. `folder` takes its log;
    /// `orphans` are files and folders to remove when its owner is killed.
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
        let endpoint = guarded.until(Duration::from_secs(60), async || announced(&log)).await?;
        // The first request loads the service's code, which takes a second that no test should pay.
        Logs::at(&endpoint).call("DescribeLogGroups", json!({})).await?;
        Ok(Self { guarded, endpoint })
    }

    /// Its address, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

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
