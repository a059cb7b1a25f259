//! Databases that the code could not use: `migrate` names every mismatch and changes nothing.

use harness::database::Database;
use harness::lambda::Function;
use serde_json::json;
use tokio_postgres::Client;

use super::adopted::{ROWS, TABLES};
use super::shapes::{ACCEPTED, CASES};
use super::{execute, migrate_at, migrate_on, names, refusal, run, schema};

/// The tables of another tool, made anew.
async fn reset(client: &Client, change: &str) {
    execute(client, "drop schema public cascade; create schema public").await;
    execute(client, TABLES).await;
    if !change.is_empty() {
        execute(client, change).await;
    }
}

async fn database() -> (Database, Client, Function) {
    let database = Database::empty().await;
    let client = database.connect().await;
    let owner = format!("alter schema public owner to {}", harness::postgres::SERVICE_ROLE);
    execute(&database.connect_as_superuser().await, &owner).await;
    let migrate = migrate_on(&database).await;
    (database, client, migrate)
}

/// The sentences of a refusal.
fn sentences(told: &str) -> Vec<&str> {
    let prefix = "this database cannot be used, and nothing was changed: ";
    told.strip_prefix(prefix).unwrap_or_else(|| panic!("{told}")).split("; ").collect()
}

#[tokio::test]
async fn each_mismatch_is_named_and_nothing_changes() {
    let (_database, client, migrate) = database().await;

    for (change, expected) in CASES {
        reset(&client, change).await;
        let before = schema::dump(&client).await;

        let told = refusal(&migrate).await;

        let (mut said, mut expected) = (sentences(&told), expected.to_vec());
        said.sort_unstable();
        expected.sort_unstable();
        assert_eq!(said, expected, "{change}");
        assert_eq!(schema::dump(&client).await, before, "{change}");
    }
}

#[tokio::test]
async fn all_mismatches_of_all_tables_are_named_at_once() {
    let (_database, client, migrate) = database().await;
    let changes = r#"
        alter table feature_flag_schedules drop constraint "FK_1d44c0be", alter scheduled_at type timestamp,
            alter updates type json, add tenant integer not null default 1;
        alter table feature_flag_schedules alter tenant drop default;
        alter table feature_flags alter rollout_percentage type smallint, alter enabled drop default, alter enabled type text;
        create table audit_outbox (id int)"#;
    reset(&client, changes).await;

    let told = refusal(&migrate).await;

    let places: Vec<_> =
        sentences(&told).iter().map(|said| said.split(' ').next().unwrap_or_default()).collect();
    let expected = [
        "feature_flags.rollout_percentage",
        "feature_flags.enabled",
        "feature_flag_schedules.updates",
        "feature_flag_schedules.scheduled_at",
        "feature_flag_schedules.flag_id",
        "feature_flag_schedules.tenant",
        "audit_outbox",
    ];
    assert_eq!(places, expected, "{told}");
}

#[tokio::test]
async fn what_the_code_can_use_is_adopted_with_its_rows_and_a_second_run_changes_nothing() {
    let (_database, client, migrate) = database().await;

    for change in ACCEPTED {
        reset(&client, "").await;
        execute(&client, ROWS).await;
        if !change.is_empty() {
            execute(&client, change).await;
        }

        let first = run(&migrate).await;
        let after = schema::dump(&client).await;
        let second = run(&migrate).await;

        assert_eq!((&first["applied"], &second["applied"]), (&json!(names()), &json!([])), "{change}");
        assert_eq!(schema::dump(&client).await, after, "{change}");
        let text = "column feature_flag_schedules.status text";
        assert!(after.iter().any(|line| line.starts_with(text)), "{change}: {after:#?}");
        assert_eq!(schema::rows(&client, "feature_flags").await.len(), 2, "{change}");
        // What the service does not name has a value all the same.
        let create = "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by, error_message)
            select gen_random_uuid(), id, now(), '{}', 'anna', repeat('x', 500) from feature_flags limit 1
            returning status = 'pending' and created_at is not null and updated_at is not null";
        let row = client.query_one(create, &[]).await.unwrap_or_else(|error| panic!("{change}: {error:?}"));
        assert_eq!(row.get::<_, Option<bool>>(0), Some(true), "{change}");
    }
}

#[tokio::test]
async fn a_table_that_was_changed_after_it_was_migrated_is_refused() {
    let (_database, client, migrate) = database().await;
    execute(&client, "drop schema public cascade; create schema public").await;
    run(&migrate).await;
    let later = "alter table feature_flags alter rollout_percentage type bigint;
                 alter table audit_outbox drop dead_reason, alter refused_at type timestamp, alter written_at drop default;
                 alter table feature_flag_schedules alter status drop default, drop reason cascade";
    execute(&client, later).await;
    let before = schema::dump(&client).await;

    let told = refusal(&migrate).await;

    let said = sentences(&told);
    for expected in [
        "feature_flags.rollout_percentage is bigint not null, but must be integer",
        "audit_outbox.refused_at is timestamp without time zone, but must be timestamp with time zone",
        "audit_outbox.dead_reason is missing, but must be text",
    ] {
        assert!(said.contains(&expected), "{expected} is not in: {told}");
    }
    assert_eq!(schema::dump(&client).await, before);
    // What only shows once the migrations have run.
    execute(&client, "alter table feature_flags alter rollout_percentage type integer").await;
    execute(&client, "alter table audit_outbox add dead_reason text, alter refused_at type timestamptz")
        .await;
    let told = refusal(&migrate).await;
    let expected = [
        "feature_flag_schedules.reason is missing, but must be text",
        "feature_flag_schedules.status has no default, but must have one",
        "the trigger flag_schedules_guard_update of feature_flag_schedules is missing, but must be enabled",
        "audit_outbox.written_at has no default, but must have one",
    ];
    assert_eq!(sentences(&told), expected);
}

#[tokio::test]
async fn a_column_that_postgresql_does_not_widen_is_named_and_nothing_changes() {
    let (_database, client, migrate) = database().await;
    let inherited = "create table messages (error_message varchar(40));
        alter table feature_flag_schedules alter error_message type varchar(40), inherit messages";
    reset(&client, inherited).await;
    let before = schema::dump(&client).await;

    let told = refusal(&migrate).await;

    let expected =
        "feature_flag_schedules.error_message cannot be widened to text: cannot alter inherited column";
    assert!(told.contains("widen_schedule_texts") && told.contains(expected), "{told}");
    assert_eq!(schema::dump(&client).await, before);
}

#[tokio::test]
async fn an_index_whose_name_is_taken_is_missed_and_nothing_changes() {
    let (_database, client, migrate) = database().await;
    reset(&client, "create table feature_flag_schedules_idempotency_idx (id int)").await;
    let before = schema::dump(&client).await;

    let told = refusal(&migrate).await;

    let expected = "feature_flag_schedules has no valid unique index on (flag_id, created_by, idempotency_key) \
                    where idempotency_key is not null, but must have one";
    assert_eq!(sentences(&told), [expected]);
    assert_eq!(schema::dump(&client).await, before);
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let own = Database::empty().await;
    let superuser = own.connect_as_superuser().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", own.name(), encoding.to_lowercase());
        let create = format!(
            "create database {name} owner {} encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'",
            harness::postgres::SERVICE_ROLE
        );
        execute(&superuser, &create).await;
        let migrate = migrate_at(&own.url().replace(own.name(), &name)).await;

        let told = refusal(&migrate).await;

        migrate.stop().await;
        execute(&superuser, &format!("drop database {name} with (force)")).await;
        assert_eq!(sentences(&told), [format!("the database's encoding is {encoding}, but must be UTF8")]);
    }
}

/// Nothing fails without a guard: a deployment is the moment when somebody looks.
#[tokio::test]
async fn a_guard_that_is_gone_or_switched_off_is_named() {
    let (_database, client, migrate) = database().await;
    execute(&client, "drop schema public cascade; create schema public").await;
    run(&migrate).await;
    let triggers =
        "select tgname::text, tgrelid::regclass::text from pg_trigger where tgname like 'flag_schedules_%'";
    let triggers = client.query(triggers, &[]).await.unwrap();
    let triggers: Vec<(String, String)> = triggers.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(triggers.len(), 4, "{triggers:?}");

    for (trigger, table) in &triggers {
        for (how, state) in [
            (format!("alter table {table} disable trigger {trigger}"), "disabled"),
            (format!("alter table {table} enable replica trigger {trigger}"), "disabled"),
            (format!("drop trigger {trigger} on {table}"), "missing"),
        ] {
            execute(&client, &format!("begin; {how}; commit")).await;
            let told = refusal(&migrate).await;
            let expected = format!("the trigger {trigger} of {table} is {state}, but must be enabled");
            assert_eq!(sentences(&told), [expected], "{how}");
        }
        // The one that was dropped; nothing else is missing then.
        let stands_in = format!(
            "create trigger {trigger} before truncate on {table} for each statement execute function flag_schedules_refuse()"
        );
        execute(&client, &stands_in).await;
        execute(&client, &format!("alter table {table} enable always trigger {trigger}")).await;
    }
    execute(&client, "alter table audit_outbox disable row level security").await;
    let told = refusal(&migrate).await;
    assert_eq!(sentences(&told), ["row-level security of audit_outbox is disabled, but must be enabled"]);

    execute(&client, "alter table audit_outbox enable row level security").await;
    run(&migrate).await;
}
