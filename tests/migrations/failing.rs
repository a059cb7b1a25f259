//! Migrations that cannot be done, and schemas that this release does not know.

use std::time::Duration;

use harness::api::Api;
use harness::database::Database;
use serde_json::json;

use super::{execute, migrate_on, migrate_within, names, refusal, run, schema};
use crate::support::turn_on;

#[tokio::test]
async fn a_failing_migration_leaves_nothing_behind_nor_do_those_before_it() {
    let database = Database::empty().await;
    let client = database.connect().await;
    // The migration that makes the outbox makes the table first; its index then finds its name taken.
    let obstacle =
        "create table obstacle (id int); create index audit_outbox_undelivered_idx on obstacle (id)";
    execute(&client, obstacle).await;
    let before = schema::dump(&client).await;
    let migrate = migrate_on(&database).await;

    let told = refusal(&migrate).await;

    let failing = "V20260210090300__create_audit_outbox";
    for part in [failing, "\"audit_outbox_undelivered_idx\" already exists"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    assert_eq!(schema::dump(&client).await, before);

    // Once the obstacle is gone, all is done.
    execute(&client, "drop table obstacle").await;
    assert_eq!(run(&migrate).await["applied"], json!(names()));
    let usual = Database::migrated().await;
    let (ours, theirs) = (schema::structure(&client).await, schema::structure(&usual.connect().await).await);
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn a_schema_newer_than_the_code_is_success_and_the_code_works_with_it() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    let newer = format!(
        "alter table feature_flag_schedules add column approved_by text;
         alter table feature_flags add column archived_at timestamptz;
         insert into {} (version, name, applied_on, checksum)
         values (29991231235959, 'add_approval', '2999-12-31T23:59:59Z', '1234567890')",
        schema::HISTORY
    );
    execute(&client, &newer).await;
    let before = schema::dump(&client).await;

    let result = run(&migrate_on(&database).await).await;

    assert_eq!(
        result,
        json!({"applied": [], "schema_version": "V29991231235959__add_approval", "release": "unknown"})
    );
    assert_eq!(schema::dump(&client).await, before);
    let api = Api::with().database(database).start().await;
    api.flag("new-checkout", "production").await;
    let created = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    assert_eq!(created.status, 201, "{created:?}");
}

#[tokio::test]
async fn a_migration_that_was_applied_in_another_form_is_refused() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    let edited = format!("update {} set checksum = '1' where version = 20260209120100", schema::HISTORY);
    assert_eq!(client.execute(&edited, &[]).await.unwrap_or_else(|error| panic!("{error:?}")), 1);
    let before = schema::dump(&client).await;

    let told = refusal(&migrate_on(&database).await).await;

    assert!(told.contains("V20260209120100__create_feature_flag_schedules is different"), "{told}");
    assert_eq!(schema::dump(&client).await, before);
}

#[tokio::test]
async fn an_unreachable_database_is_reported_without_the_password() {
    let limit = Duration::from_secs(9);
    let migrate = migrate_within(limit, "postgres://somebody:a-very-secret-password@127.0.0.1:1/gone").await;

    let told = refusal(&migrate).await;

    assert!(told.contains("the database is not available") && told.contains("refused"), "{told}");
    let said = format!("{told}\n{}", migrate.logs().join("\n"));
    assert!(!said.contains("a-very-secret-password"), "{said}");
}

#[tokio::test]
async fn a_role_without_the_right_to_create_is_told_so() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let closed = format!(
        "alter database {} owner to postgres; revoke create on schema public from public",
        database.name()
    );
    execute(&superuser, &closed).await;

    let told = refusal(&migrate_on(&database).await).await;

    assert!(told.contains("permission denied for schema public"), "{told}");
    assert!(schema::dump(&superuser).await.is_empty());
}
