//! Migrates the schema before new code runs, on a plain invoke or as a CloudFormation custom resource. A custom
//! resource always gets a response, even after a failure or timeout. `Delete` and a rollback change nothing: the data
//! outlives the stack, and newer schemas suit older code.

use std::time::{Duration, Instant};

use flag_schedules::adapters::postgres::migrate::{Migrated, ReadOnly, migrate};
use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::config::SettingError;
use flag_schedules::error::chain;
use flag_schedules::lambda::{CustomResource, Diagnostic, LambdaEvent, RequestType, deadline_of};
use serde_json::{Value, json};

/// The physical resource id: stable, so that CloudFormation never replaces the resource.
const RESOURCE_ID: &str = "flag-schedules-schema";

/// Time reserved for cancelling an unfinished migration and sending the response.
const ANSWER_RESERVE: Duration = Duration::from_secs(6);

/// Properties of the resource that say nothing about the code or the database.
const UNCONCERNED: [&str; 2] = ["AnswersThrough", "ServiceTimeout"];

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
        let answered = CustomResource::handle(&event.payload, RESOURCE_ID, async |resource| {
            let outcome = self.bring_up_to_date(&resource, end).await;
            let schema_version = outcome.as_ref().ok().and_then(|(_, version)| version.clone());
            let data = json!({"SchemaVersion": schema_version, "Release": self.release});
            (outcome.map(|(said, _)| said), data)
        });
        let result = match Box::pin(answered).await {
            Some(answered) => answered,
            None => self.migrate(end, ReadOnly::Fails).await.map(|migrated| self.report(&migrated)),
        };
        result.map_err(MigrationFailed)
    }

    /// What CloudFormation is told, and the schema's version if it was looked up.
    async fn bring_up_to_date(
        &self,
        resource: &CustomResource,
        end: Instant,
    ) -> Result<(String, Option<String>), String> {
        let nothing = |said: &str| Ok((said.to_owned(), None));
        let read_only = match resource.request_type {
            RequestType::Delete => return nothing("a stack's deletion leaves the tables and their data"),
            _ if resource.is_rollback() => return nothing("a rollback leaves the schema as it is"),
            // The same code has the same migrations.
            _ if resource.changes_only(&UNCONCERNED) => {
                return nothing("nothing has changed that concerns the schema");
            }
            _ if resource.changes_only(&[&UNCONCERNED[..], &["Database"]].concat()) => ReadOnly::IsChecked,
            RequestType::Create | RequestType::Update => ReadOnly::Fails,
        };
        let migrated = self.migrate(end, read_only).await?;
        let said = match migrated.applied.join(", ") {
            applied if applied.is_empty() => "the schema was up to date".to_owned(),
            applied => format!("applied {applied}"),
        };
        Ok((said, migrated.schema_version))
    }

    async fn migrate(&self, end: Instant, read_only: ReadOnly) -> Result<Migrated, String> {
        let settings = self.settings.as_ref().map_err(ToString::to_string)?;
        match Box::pin(migrate(settings, end, read_only)).await {
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
