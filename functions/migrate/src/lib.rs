//! Migrates the schema before new code runs, on a plain invoke or as a CloudFormation custom resource. A custom
//! resource always gets a response, even after a failure or timeout. `Delete` and a rollback change nothing: the data
//! outlives the stack, and newer schemas suit older code.

use std::time::{Duration, Instant};

use flag_schedules::adapters::postgres::migrate::{Migrated, migrate};
use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::config::SettingError;
use flag_schedules::error::chain;
use flag_schedules::lambda::{CustomResource, Diagnostic, LambdaEvent, deadline_of};
use serde_json::{Value, json};

/// The physical resource id: stable, so that CloudFormation never replaces the resource.
const RESOURCE_ID: &str = "flag-schedules-schema";

/// Time reserved for cancelling an unfinished migration and sending the response.
const ANSWER_RESERVE: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub struct MigrationFailed(String);

impl From<MigrationFailed> for Diagnostic {
    fn from(failed: MigrationFailed) -> Self {
        Self { error_type: "MigrationFailed".to_owned(), error_message: failed.0 }
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
        let Some(resource) = CustomResource::read(&event.payload) else {
            return self.migrate(end).await.map(|migrated| self.report(&migrated)).map_err(MigrationFailed);
        };
        let resource = resource.map_err(MigrationFailed)?;
        let mut schema_version = None;
        let outcome = match resource.request_type.as_str() {
            "Delete" => Ok("a stack's deletion leaves the tables and their data".to_owned()),
            _ if resource.is_rollback() => Ok("a rollback leaves the schema as it is".to_owned()),
            _ => self.migrate(end).await.map(|migrated| {
                let applied = migrated.applied.join(", ");
                schema_version = migrated.schema_version;
                if applied.is_empty() {
                    "the schema was up to date".to_owned()
                } else {
                    format!("applied {applied}")
                }
            }),
        };
        let data = json!({"SchemaVersion": schema_version, "Release": self.release});
        resource.answer(RESOURCE_ID, &outcome, data).await.map_err(MigrationFailed)
    }

    async fn migrate(&self, end: Instant) -> Result<Migrated, String> {
        let settings = self.settings.as_ref().map_err(ToString::to_string)?;
        match Box::pin(migrate(settings, end)).await {
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
}
