//! A client of the CloudWatch Logs wire protocol, for the stand-in and for the emulator `moto_server`.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use common::error::{Doing, Error, Result};
use common::http;

pub const REGION: &str = "us-east-1";
/// Access key id of everything local.
pub const ACCESS_KEY_ID: &str = "local";
/// Secret key of everything local: not a secret.
pub const SECRET_ACCESS_KEY: &str = "local-not-a-secret";

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

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One call: `CreateLogGroup`, `PutLogEvents`, …
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
