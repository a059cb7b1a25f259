//! Migrates the schema before new code runs, on a plain invoke or as a CloudFormation custom resource. A custom
//! resource always gets a response, even after a failure or timeout: without one, the deployment would hang until its
//! own timeout. `Delete` and a rollback change nothing: the data outlives the stack, and newer schemas suit older code.

use std::fmt;
use std::time::{Duration, Instant};

use flag_schedules::adapters::https::Https;
use flag_schedules::adapters::postgres::migrate::{Migrated, migrate};
use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::config::SettingError;
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
    #[serde(default)]
    resource_properties: Properties,
    #[serde(default)]
    old_resource_properties: Properties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    /// The ARN of a version of this function.
    code_version: Option<String>,
}

impl Properties {
    /// The number at the ARN's end. Lambda counts up, and uses no number again.
    fn version(&self) -> Option<u64> {
        self.code_version.as_deref()?.rsplit(':').next()?.parse().ok()
    }
}

impl CustomResource {
    /// CloudFormation goes back to the older version when an update has failed. Then nothing must fail again: the stack
    /// would be left in between (`UPDATE_ROLLBACK_FAILED`). A deployment of older code publishes a newer version.
    fn is_rollback(&self) -> bool {
        let (new, old) = (self.resource_properties.version(), self.old_resource_properties.version());
        matches!((new, old), (Some(new), Some(old)) if new < old)
    }
}

/// What outlives an invocation.
pub struct Migration {
    settings: Result<DatabaseSettings, SettingError>,
    release: String,
}

impl Migration {
    /// An invalid setting is logged here, and is the reason of every failure.
    #[must_use]
    pub fn new(settings: Result<DatabaseSettings, SettingError>, release: String) -> Self {
        if let Err(error) = &settings {
            tracing::error!(cause = %error, "the schema cannot be migrated");
        }
        Self { settings, release }
    }

    /// Fails if a plain invoke's migration fails, or if CloudFormation does not accept the response. A failed custom
    /// resource is reported to CloudFormation with the reason, which rolls the deployment back.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, MigrationFailed> {
        let end = deadline_of(event.context.deadline);
        let end = end.checked_sub(ANSWER_RESERVE).unwrap_or_else(Instant::now);
        if event.payload.get("RequestType").is_none() {
            return self.migrate(end).await.map(|migrated| self.report(&migrated)).map_err(MigrationFailed);
        }
        let resource = CustomResource::deserialize(&event.payload)
            .map_err(|error| MigrationFailed(format!("the custom resource event cannot be read: {error}")))?;
        let outcome = self.outcome(&resource, end).await;
        self.answer(&resource, &outcome).await.map_err(|error| {
            MigrationFailed(format!("CloudFormation did not take the answer: {}", chain(error.as_ref())))
        })?;
        Ok(json!({"status": if outcome.is_ok() { "SUCCESS" } else { "FAILED" }}))
    }

    async fn outcome(&self, resource: &CustomResource, end: Instant) -> Result<Done, String> {
        match resource.request_type.as_str() {
            "Delete" => Ok(Done::Nothing("a stack's deletion leaves the tables and their data")),
            "Update" if resource.is_rollback() => Ok(Done::Nothing("a rollback leaves the schema as it is")),
            _ => self.migrate(end).await.map(Done::Migrated),
        }
    }

    async fn migrate(&self, end: Instant) -> Result<Migrated, String> {
        let settings = self.settings.as_ref().map_err(ToString::to_string)?;
        match migrate(settings, end).await {
            Ok(migrated) => {
                let (applied, schema_version) = (migrated.applied.join(", "), &migrated.schema_version);
                tracing::info!(applied, schema_version, "the schema is up to date");
                Ok(migrated)
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(reason, "the schema could not be brought up to date");
                Err(reason)
            }
        }
    }

    fn report(&self, migrated: &Migrated) -> Value {
        json!({
            "applied": migrated.applied,
            "schema_version": migrated.schema_version,
            "release": self.release,
        })
    }

    async fn answer(
        &self,
        resource: &CustomResource,
        outcome: &Result<Done, String>,
    ) -> Result<(), BoxError> {
        let (status, reason) = match outcome {
            Ok(done) => ("SUCCESS", done.to_string()),
            Err(reason) => ("FAILED", reason.clone()),
        };
        let schema_version = match outcome {
            Ok(Done::Migrated(migrated)) => migrated.schema_version.as_deref(),
            _ => None,
        };
        let body = json!({
            "Status": status,
            "Reason": shortened(&reason),
            "PhysicalResourceId": resource.physical_resource_id.as_deref().unwrap_or(RESOURCE_ID),
            "StackId": resource.stack_id,
            "RequestId": resource.request_id,
            "LogicalResourceId": resource.logical_resource_id,
            "Data": {"SchemaVersion": schema_version, "Release": self.release},
        });
        Https.send("PUT", &resource.response_url, serde_json::to_vec(&body)?).await.map(|_| ())
    }
}

/// What a custom resource's request came to.
#[derive(Debug)]
enum Done {
    Migrated(Migrated),
    Nothing(&'static str),
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(why) => f.write_str(why),
            Self::Migrated(Migrated { applied, .. }) if applied.is_empty() => {
                f.write_str("the schema was up to date")
            }
            Self::Migrated(Migrated { applied, .. }) => write!(f, "applied {}", applied.join(", ")),
        }
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
