//! Custom resources of CloudFormation: a request that must be answered at an address of its own, or the deployment hangs
//! until its own timeout.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapters::https::Https;
use crate::error::{BoxError, chain};

/// CloudFormation rejects responses over 4096 bytes; JSON at most doubles a reason without control characters.
const MAX_REASON_BYTES: usize = 1_500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum RequestType {
    Create,
    Update,
    Delete,
}

/// CloudFormation's request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomResource {
    pub request_type: RequestType,
    #[serde(default)]
    pub resource_properties: Value,
    #[serde(default)]
    old_resource_properties: Value,
}

impl CustomResource {
    /// Answers CloudFormation with the outcome of `work` and its data, and gives the invocation's result; `None` if the
    /// event is not a request of CloudFormation. A request that cannot be read has failed. `id` is the physical resource
    /// id of a new resource; an old one keeps its own, because another one would have CloudFormation delete it.
    pub async fn handle(
        event: &Value,
        id: &str,
        work: impl AsyncFnOnce(Self) -> (Result<String, String>, Value),
    ) -> Option<Result<Value, String>> {
        if event.get("RequestType").is_none() && event.get("ResponseURL").is_none() {
            return None;
        }
        let (outcome, data) = match Self::read(event) {
            Ok(resource) => work(resource).await,
            Err(error) => {
                let reason = format!("the custom resource event cannot be read: {error}");
                tracing::error!(reason, "CloudFormation is refused");
                (Err(reason), json!({}))
            }
        };
        Some(answer(event, id, &outcome, &data).await)
    }

    fn read(event: &Value) -> Result<Self, String> {
        for name in ["StackId", "RequestId", "LogicalResourceId"] {
            if !event[name].is_string() {
                return Err(format!("{name} is not a text"));
            }
        }
        if !matches!(event["PhysicalResourceId"], Value::Null | Value::String(_)) {
            return Err("PhysicalResourceId is not a text".to_owned());
        }
        Self::deserialize(event).map_err(|error| error.to_string())
    }

    /// CloudFormation goes back to older versions when an update has failed. Then nothing must fail again: the stack would
    /// be left in between (`UPDATE_ROLLBACK_FAILED`). A deployment of older code publishes newer versions. The versions
    /// are the functions' ARNs in `CodeVersion`, `Endpoints` and `Others`.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        let (new, old) = (versions(&self.resource_properties), versions(&self.old_resource_properties));
        // Lambda counts up, and uses no number again.
        let goes_back = |(function, new)| old.get(function).is_some_and(|old| new < *old);
        self.request_type == RequestType::Update && new.into_iter().any(goes_back)
    }

    /// Whether an update changes no other properties than these. It may then be the rollback of an update without new
    /// versions, which `is_rollback` does not recognise.
    #[must_use]
    pub fn changes_only(&self, names: &[&str]) -> bool {
        let others = |properties: &Value| {
            let mut properties = properties.clone();
            if let Some(properties) = properties.as_object_mut() {
                properties.retain(|name, _| !names.contains(&name.as_str()));
            }
            properties
        };
        self.request_type == RequestType::Update
            && others(&self.resource_properties) == others(&self.old_resource_properties)
    }
}

/// The numbers of all versions, by their functions.
fn versions(properties: &Value) -> BTreeMap<&str, u64> {
    let lists = ["Endpoints", "Others"].into_iter().filter_map(|name| properties[name].as_array()).flatten();
    let arns = lists.chain([&properties["CodeVersion"]]).filter_map(Value::as_str);
    arns.filter_map(|arn| arn.rsplit_once(':'))
        .filter_map(|(function, version)| Some((function, version.parse().ok()?)))
        .collect()
}

async fn answer(
    event: &Value,
    id: &str,
    outcome: &Result<String, String>,
    data: &Value,
) -> Result<Value, String> {
    let (status, reason) = match outcome {
        Ok(reason) => ("SUCCESS", reason),
        Err(reason) => ("FAILED", reason),
    };
    let url = event["ResponseURL"].as_str().ok_or("the custom resource event has no ResponseURL")?;
    let body = json!({
        "Status": status,
        "Reason": shortened(reason, MAX_REASON_BYTES),
        "PhysicalResourceId": event["PhysicalResourceId"].as_str().unwrap_or(id),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": data,
    });
    let sent: Result<_, BoxError> = Https.send("PUT", url, body.to_string().into()).await;
    sent.map_err(|error| format!("CloudFormation did not take the answer: {}", chain(error.as_ref())))?;
    Ok(json!({ "status": status }))
}

/// Several reasons as one that CloudFormation takes: a long one does not displace the others.
#[must_use]
pub fn join_reasons(reasons: &[String]) -> String {
    const SEPARATOR: &str = "; ";
    let share = (MAX_REASON_BYTES / reasons.len().max(1)).saturating_sub(SEPARATOR.len());
    reasons.iter().map(|reason| shortened(reason, share)).collect::<Vec<_>>().join(SEPARATOR)
}

fn shortened(reason: &str, max_bytes: usize) -> String {
    let printable = reason.chars().map(|char| if char.is_control() { ' ' } else { char });
    let mut bytes = 0;
    printable
        .take_while(|char| {
            bytes += char.len_utf8();
            bytes <= max_bytes
        })
        .collect()
}
