//! Brings the schema up to date before any new code runs: by plain invoke, or as a CloudFormation custom resource.
//!
//! As a custom resource it always answers CloudFormation, also when it fails or its time is up: a resource without an answer
//! would hold the deployment up until its time limit. `Delete` changes nothing: the data outlives the stack.

use std::time::{Duration, Instant};

use flag_schedules::adapters::https::Https;
use flag_schedules::adapters::postgres::migrate::{Migrated, migrate};
use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::error::{BoxError, chain};
use flag_schedules::lambda::{Diagnostic, LambdaEvent, deadline_of};
use serde::Deserialize;
use serde_json::{Value, json};

/// The id of the one resource, stable, so that CloudFormation never replaces it.
const RESOURCE_ID: &str = "flag-schedules-schema";
/// CloudFormation refuses answers above 4096 bytes; as JSON, a reason without control characters is at most doubled.
const MAX_REASON_BYTES: usize = 1_500;

/// Left of an invocation's time when a migration is given up: for the database to hear of it, and for the answer.
const ANSWER_RESERVE: Duration = Duration::from_secs(6);

/// A failed migration, as Lambda reports it.
#[derive(Debug)]
pub struct MigrationFailed(String);

impl From<MigrationFailed> for Diagnostic {
    fn from(failed: MigrationFailed) -> Self {
        Self { error_type: "MigrationFailed".to_owned(), error_message: failed.0 }
    }
}

/// What CloudFormation sends for a custom resource.
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

/// Migrates.
///
/// # Errors
/// [`MigrationFailed`] for a plain invoke whose migration failed, and for an answer that CloudFormation did not take.
/// A custom resource whose migration failed is told so, with the reason, and the deployment is rolled back.
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
