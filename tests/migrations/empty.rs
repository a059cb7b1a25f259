//! A database without tables.

use std::collections::BTreeSet;

use harness::database::Database;
use serde_json::json;

use super::{execute, migrate_at, migrate_on, names, run, schema};

#[tokio::test]
async fn an_empty_database_gets_every_migration_and_a_second_run_changes_nothing() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let migrate = migrate_on(&database).await;

    let first = run(&migrate).await;
    let after_the_first = schema::dump(&client).await;
    let second = run(&migrate).await;
    let after_the_second = schema::dump(&client).await;

    assert_eq!(first, json!({"applied": names(), "schema_version": names().last(), "release": "unknown"}));
    assert_eq!(second, json!({"applied": [], "schema_version": names().last(), "release": "unknown"}));
    assert_eq!(after_the_second, after_the_first);
    for table in ["feature_flags", "feature_flag_schedules", "audit_outbox"] {
        assert!(schema::exists(&client, table).await, "there is no {table}: {after_the_first:#?}");
    }
}

#[tokio::test]
async fn another_process_finds_nothing_to_do_either() {
    let database = Database::migrated().await;
    let client = database.connect().await;
    let before = schema::dump(&client).await;

    let result = run(&migrate_on(&database).await).await;

    assert_eq!(result, json!({"applied": [], "schema_version": names().last(), "release": "unknown"}));
    assert_eq!(schema::dump(&client).await, before);
}

#[tokio::test]
async fn tables_and_columns_are_those_of_the_contract() {
    let database = Database::migrated().await;
    let client = database.connect().await;

    let schema = schema::structure(&client).await;

    let of = |table: &str| -> BTreeSet<&str> {
        let column = format!("column {table}.");
        schema.iter().filter_map(|line| line.strip_prefix(column.as_str())).collect()
    };
    let flags = [
        "id uuid not null default gen_random_uuid()",
        "flag_key text not null default ",
        "enabled boolean not null default false",
        "rollout_percentage integer not null default 0",
        "description text default ",
        "environment text not null default 'production'::text",
        "created_at timestamp with time zone not null default now()",
        "updated_at timestamp with time zone not null default now()",
    ];
    let schedules = [
        "id uuid not null default gen_random_uuid()",
        "flag_id uuid not null default ",
        "scheduled_at timestamp with time zone not null default ",
        "status text not null default 'pending'::text",
        "updates jsonb not null default ",
        "applied_at timestamp with time zone default ",
        "error_message text default ",
        "created_at timestamp with time zone not null default now()",
        "updated_at timestamp with time zone not null default now()",
        "created_by text default ",
        "cancelled_by text default ",
        "cancelled_at timestamp with time zone default ",
        "apply_by timestamp with time zone default ",
        "reason text default ",
        "cancel_reason text default ",
        "failed_at timestamp with time zone default ",
        "error_code text default ",
        "expect jsonb default ",
    ];
    assert_eq!(of("feature_flags"), BTreeSet::from(flags));
    let ours = of("feature_flag_schedules");
    let missing: Vec<_> = schedules.iter().filter(|column| !ours.contains(**column)).collect();
    assert!(missing.is_empty(), "missing: {missing:#?}\nthere are: {ours:#?}");
    // What later releases add must be nullable or have a default: older releases write rows without it.
    for column in ours.iter().filter(|column| !schedules.contains(column)) {
        assert!(!column.ends_with("not null default "), "{column}");
    }
    let constraints: Vec<_> = schema.iter().filter(|line| line.starts_with("constraint")).collect();
    for wanted in [
        "on feature_flags: UNIQUE (flag_key, environment)",
        "on feature_flags: CHECK (((rollout_percentage >= 0) AND (rollout_percentage <= 100)))",
        "on feature_flag_schedules: FOREIGN KEY (flag_id) REFERENCES feature_flags(id) ON DELETE CASCADE",
        "on feature_flag_schedules: CHECK ((status = ANY (ARRAY['pending'::text, 'applied'::text, 'failed'::text, 'cancelled'::text])))",
    ] {
        assert!(
            constraints.iter().any(|constraint| constraint.ends_with(wanted)),
            "no {wanted}: {constraints:#?}"
        );
    }
    // `updates` has no check, and none ties `scheduled_at` to another column.
    let checks = constraints
        .iter()
        .filter(|line| line.contains("CHECK") && line.contains("on feature_flag_schedules"));
    for check in checks {
        assert!(!check.contains("updates") && !check.contains("scheduled_at"), "{check}");
    }
}

#[tokio::test]
async fn a_role_that_owns_a_schema_and_nothing_else_can_migrate() {
    let database = Database::empty().await;
    let superuser = database.connect_as_superuser().await;
    let role = format!("migrator_{}", uuid::Uuid::new_v4().simple());
    let name = database.name();
    let setup = format!(
        "create role {role} login password 'not-a-secret';
         create schema flags authorization {role};
         alter role {role} in database {name} set search_path = flags;
         revoke all on schema public from public;
         revoke create, temporary on database {name} from public"
    );
    execute(&superuser, &setup).await;
    let url = database.url();
    let (_, place) = url.rsplit_once('@').expect("the URL has credentials");
    let migrate = migrate_at(&format!("postgres://{role}:not-a-secret@{place}")).await;

    let first = run(&migrate).await;
    let second = run(&migrate).await;

    let sql = "select rolsuper or rolcreatedb or rolcreaterole from pg_roles where rolname = $1";
    let powerful: bool =
        superuser.query_one(sql, &[&role]).await.unwrap_or_else(|error| panic!("{error:?}")).get(0);
    assert!(!powerful);
    assert_eq!(first["applied"], json!(names()));
    assert_eq!(second["applied"], json!([]));
    assert!(schema::exists(&superuser, "flags.audit_outbox").await);
    migrate.stop().await;
    execute(&superuser, &format!("drop owned by {role}; drop role {role}")).await;
}
