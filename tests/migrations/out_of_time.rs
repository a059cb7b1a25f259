//! A migration whose time is up is given up in time: CloudFormation is told why, and the database does nothing any more.

use std::time::Duration;

use harness::database::Database;
use serde_json::json;

use super::cloudformation::CloudFormation;
use super::concurrent::LOCK;
use super::custom_resource::{answer, request};
use super::{execute, migrate_on, migrate_within, names, run, schema, until};

/// What `migrate` keeps for its answer, and half a second for the migration.
const LIMIT: Duration = Duration::from_millis(6_500);

/// Waits until no session of a migrator is left in the database.
const NOBODY: &str = "select count(*) = 0 from pg_stat_activity
                      where datname = current_database() and application_name = 'flag-schedules migrate'";

/// Deploys into a database where the migration cannot come to its end; gives the reason that CloudFormation is told.
async fn refused_deployment(database: &Database) -> String {
    let cloudformation = CloudFormation::start().await;
    let migrate = migrate_within(LIMIT, &database.url()).await;

    let answer = answer(&migrate, &request("Create", &cloudformation), &cloudformation).await;

    assert_eq!(answer.body["Status"], "FAILED", "{:#}", answer.body);
    answer.body["Reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_deployment_is_told_in_time_that_another_migrator_does_not_finish() {
    let database = Database::empty().await;
    let holder = database.connect().await;
    execute(&holder, &format!("select pg_advisory_lock({LOCK})")).await;

    let reason = refused_deployment(&database).await;

    assert_eq!(reason, "the time was up while waiting for another migrator to finish");
    until(&holder, NOBODY).await;
    execute(&holder, &format!("select pg_advisory_unlock({LOCK})")).await;
    assert_eq!(run(&migrate_on(&database).await).await["applied"], json!(names()));
}

#[tokio::test]
async fn a_migration_that_takes_too_long_is_cancelled_and_leaves_nothing_behind() {
    let database = Database::empty().await;
    let client = database.connect().await;
    // Stands for a large table: making this index takes an hour.
    let slow = "create function slow() returns event_trigger language plpgsql as $$ begin perform pg_sleep(3600); end $$;
                create event trigger slow on ddl_command_end when tag in ('CREATE INDEX') execute function slow()";
    let superuser = database.connect_as_superuser().await;
    execute(&superuser, slow).await;

    let reason = refused_deployment(&database).await;

    assert_eq!(reason, "the time was up while applying a migration");
    until(&client, NOBODY).await;
    assert!(!schema::exists(&client, schema::HISTORY).await);
    execute(&superuser, "drop event trigger slow").await;
    assert_eq!(run(&migrate_on(&database).await).await["applied"], json!(names()));
}
