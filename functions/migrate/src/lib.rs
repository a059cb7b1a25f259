//! Migrates the schema before new code runs, on a plain invoke or as a CloudFormation custom resource. A custom
//! resource always gets a response, even after a failure or timeout: without one, the deployment would hang until its
//! own timeout. `Delete` changes nothing: the data outlives the stack.

use std::time::{Duration, Instant};

use flag_schedules::adapters::https::Https;
use flag_schedules::adapters::postgres::migrate::{Migrated, migrate};
use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::error::{BoxError, chain};
use flag_schedules::lambda::{Diagnostic, LambdaEvent, deadline_of};
use serde::Deserialize;
use serde_json::{Value, json};

/// The physical resource id: stable, so that CloudFormation never replaces the resource.
const RESOURCE_ID: &str = "flag-schedules-schema";
/// CloudFormation rejects responses over 4096 bytes; JSON at most doubles a reason without control characters.
const MAX_REASON_BYTES: usize = 1_500;

/// Time reserved for cancelling an unfinished migration and sending the response.
const ANSWER_RESERVE: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub struct MigrationFailed(String);

impl From<MigrationFailed> for Diagnostic {
    fn from(failed: MigrationFailed) -> Self {
        Self { error_type: "MigrationFailed".to_owned(), error_message: failed.0 }
    }
}

/// CloudFormation's request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CustomResource {
    request_type: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
}

/// Fails if a plain invoke's migration fails, or if CloudFormation does not accept the response. A failed custom
/// resource is reported to CloudFormation with the reason, which rolls the deployment back.
pub async fn handle(
    settings: &DatabaseSettings,
    event: LambdaEvent<Value>,
) -> Result<Value, MigrationFailed> {
    let end = deadline_of(event.context.deadline);
    let end = end.checked_sub(ANSWER_RESERVE).unwrap_or_else(Instant::now);
    if event.payload.get("RequestType").is_none() {
        let migrated = migrate(settings, end).await.map_err(|error| MigrationFailed(chain(&error)))?;
        return Ok(report(&migrated));
    }
    let resource = CustomResource::deserialize(&event.payload)
        .map_err(|error| MigrationFailed(format!("the custom resource event cannot be read: {error}")))?;
    let outcome = match resource.request_type.as_str() {
        "Delete" => Ok(json!({"applied": []})),
        _ => migrate(settings, end).await.map(|migrated| report(&migrated)).map_err(|error| chain(&error)),
    };
    if let Err(reason) = &outcome {
        tracing::error!(reason, "the schema could not be brought up to date");
    }
    answer(&resource, &outcome).await.map_err(|error| {
        MigrationFailed(format!("CloudFormation did not take the answer: {}", chain(error.as_ref())))
    })?;
    Ok(json!({"status": if outcome.is_ok() { "SUCCESS" } else { "FAILED" }}))
}

fn report(migrated: &Migrated) -> Value {
    json!({"applied": migrated.applied, "schema_version": migrated.schema_version})
}

async fn answer(resource: &CustomResource, outcome: &Result<Value, String>) -> Result<(), BoxError> {
    let (status, reason) = match outcome {
        Ok(_) => ("SUCCESS", "the schema is up to date".to_owned()),
        Err(reason) => ("FAILED", shortened(reason)),
    };
    let body = json!({
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": resource.physical_resource_id.as_deref().unwrap_or(RESOURCE_ID),
        "StackId": resource.stack_id,
        "RequestId": resource.request_id,
        "LogicalResourceId": resource.logical_resource_id,
        "Data": {"SchemaVersion": outcome.as_ref().map(|report| report["schema_version"].clone()).unwrap_or_default()},
    });
    Https.send("PUT", &resource.response_url, serde_json::to_vec(&body)?).await.map(|_| ())
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
