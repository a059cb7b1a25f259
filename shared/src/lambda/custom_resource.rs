//! Custom resources of CloudFormation: a request that must be answered at an address of its own, or the deployment hangs
//! until its own timeout.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html>

use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapters::https::Https;
use crate::error::{BoxError, chain};

/// CloudFormation rejects responses over 4096 bytes; JSON at most doubles a reason without control characters.
const MAX_REASON_BYTES: usize = 1_500;

/// CloudFormation's request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomResource {
    /// `Create`, `Update` or `Delete`.
    pub request_type: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    #[serde(default)]
    pub resource_properties: Value,
    #[serde(default)]
    old_resource_properties: Value,
}

impl CustomResource {
    /// `None` if the event is not a request of CloudFormation.
    ///
    /// # Errors
    /// Why the request cannot be read.
    pub fn read(event: &Value) -> Option<Result<Self, String>> {
        event.get("RequestType")?;
        let read = Self::deserialize(event);
        Some(read.map_err(|error| format!("the custom resource event cannot be read: {error}")))
    }

    /// CloudFormation goes back to older versions when an update has failed. Then nothing must fail again: the stack would
    /// be left in between (`UPDATE_ROLLBACK_FAILED`). A deployment of older code publishes newer versions. `CodeVersion`
    /// is the ARN of a function's version.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        // Lambda counts up, and uses no number again.
        let version = |properties: &Value| -> Option<u64> {
            properties["CodeVersion"].as_str()?.rsplit(':').next()?.parse().ok()
        };
        let (new, old) = (version(&self.resource_properties), version(&self.old_resource_properties));
        self.request_type == "Update" && matches!((new, old), (Some(new), Some(old)) if new < old)
    }

    /// Sends the answer, and gives the invocation's result. `id` is the physical resource id of a new resource; an old one
    /// keeps its own, because another one would have CloudFormation delete it.
    ///
    /// # Errors
    /// If CloudFormation did not take the answer.
    pub async fn answer(
        &self,
        id: &str,
        outcome: &Result<String, String>,
        data: Value,
    ) -> Result<Value, String> {
        let (status, reason) = match outcome {
            Ok(reason) => ("SUCCESS", reason),
            Err(reason) => ("FAILED", reason),
        };
        let body = json!({
            "Status": status,
            "Reason": shortened(reason),
            "PhysicalResourceId": self.physical_resource_id.as_deref().unwrap_or(id),
            "StackId": self.stack_id,
            "RequestId": self.request_id,
            "LogicalResourceId": self.logical_resource_id,
            "Data": data,
        });
        let sent: Result<_, BoxError> = Https.send("PUT", &self.response_url, body.to_string().into()).await;
        sent.map_err(|error| format!("CloudFormation did not take the answer: {}", chain(error.as_ref())))?;
        Ok(json!({ "status": status }))
    }
}

fn shortened(reason: &str) -> String {
    let printable = reason.chars().map(|char| if char.is_control() { ' ' } else { char });
    let mut bytes = 0;
    printable
        .take_while(|char| {
            bytes += char.len_utf8();
            bytes <= MAX_REASON_BYTES
        })
        .collect()
}
