//! Base tables that another tool has made, with rows: they are adopted, and nothing of them is lost.

use harness::api::Api;
use harness::database::Database;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{execute, migrate_on, names, refusal, run, schema};
use crate::support::{only, turn_on};

/// The base tables as an object-relational mapper might have made them: other order, other names, further columns,
/// `timestamp` without time zone.
pub const TABLES: &str = r#"
    create table feature_flags (
        environment varchar(100) not null default 'production',
        owner_team text not null default 'platform',
        flag_key varchar(255) not null,
        updated_at timestamp not null default current_timestamp,
        created_at timestamp not null default current_timestamp,
        rollout_percentage integer not null default 0,
        description text,
        enabled boolean not null default false,
        id uuid not null default gen_random_uuid(),
        constraint "PK_5b2d8a4e" primary key (id),
        constraint "UQ_7c01f3aa" unique (environment, flag_key)
    );
    create table feature_flag_schedules (
        status text not null default 'pending',
        retry_count integer not null default 0,
        updates jsonb not null,
        updated_at timestamptz not null default current_timestamp,
        created_at timestamptz not null default current_timestamp,
        error_message text,
        applied_at timestamptz,
        scheduled_at timestamptz not null,
        metadata jsonb,
        flag_id uuid not null,
        id uuid not null default gen_random_uuid(),
        constraint "PK_e3b71c90" primary key (id),
        constraint "FK_1d44c0be" foreign key (flag_id) references feature_flags (id) on delete cascade,
        constraint "CHK_status" check (status in ('pending', 'applied', 'failed', 'cancelled'))
    );
    create index "IDX_due" on feature_flag_schedules (status, scheduled_at)"#;

/// Rows of every status, as that tool wrote them: camel case in `updates`, nobody's name in any column.
pub const ROWS: &str = r#"
    insert into feature_flags (id, flag_key, environment, enabled, rollout_percentage, description, owner_team, created_at)
    values
        ('00000000-0000-4000-8000-00000000000a', 'old-checkout', 'production', false, 5, 'the old one', 'shop', '2025-01-02 03:04:05.678901'),
        ('00000000-0000-4000-8000-00000000000b', 'old-checkout', 'staging', true, 100, null, 'shop', '2025-01-02 03:04:05');
    insert into feature_flag_schedules
        (id, flag_id, scheduled_at, status, updates, retry_count, applied_at, error_message, metadata, created_at)
    values
        ('10000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', '2025-02-01 09:00:00.123456+00', 'applied',
            '{"enabled": true, "rolloutPercentage": 10}', 1, '2025-02-01 09:00:30+00', null, '{"ticket": 7}', '2025-01-10 00:00:00+00'),
        ('10000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', '2025-02-02 09:00:00+00', 'failed',
            '{"rolloutPercentage": 900}', 3, null, 'percentage out of range', null, '2025-01-11 00:00:00+00'),
        ('10000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-00000000000a', '2025-02-03 09:00:00+00', 'cancelled',
            '{"enabled": false}', 0, null, null, null, '2025-01-12 00:00:00+00'),
        ('10000000-0000-4000-8000-000000000004', '00000000-0000-4000-8000-00000000000a', '2025-02-04 09:00:00+00', 'pending',
            '{"rolloutPercentage": 55}', 0, null, null, null, '2025-01-13 00:00:00+00'),
        ('10000000-0000-4000-8000-000000000005', '00000000-0000-4000-8000-00000000000a', '2025-02-05 09:00:00+00', 'pending',
            '{"enabled": true, "color": "red"}', 0, null, null, null, '2025-01-14 00:00:00+00'),
        ('10000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-00000000000a', '2099-01-01 00:00:00+00', 'pending',
            '{"enabled": false, "rolloutPercentage": 0}', 0, null, null, null, '2025-01-15 00:00:00+00')"#;

const BASE_TABLES: [&str; 2] = ["feature_flags", "feature_flag_schedules"];

/// A database as another tool left it.
async fn of_another_tool(tables: &str, rows: &str) -> (Database, Client) {
    let database = Database::empty().await;
    let client = database.connect().await;
    execute(&client, tables).await;
    execute(&client, rows).await;
    (database, client)
}

/// Checks that every row is still there, with the same value in each column that it had.
async fn assert_nothing_lost(client: &Client, table: &str, before: &[Value]) {
    let after = schema::rows(client, table).await;
    assert_eq!(after.len(), before.len(), "{table}");
    for row in before {
        let now =
            after.iter().find(|now| now["id"] == row["id"]).unwrap_or_else(|| panic!("{table} lost {row:#}"));
        for (column, value) in row.as_object().into_iter().flatten() {
            assert_eq!(&now[column], value, "{table}.{column} of {}", row["id"]);
        }
        for (column, value) in
            now.as_object().into_iter().flatten().filter(|(column, _)| row.get(column).is_none())
        {
            assert_eq!(value, &Value::Null, "{table}.{column} of {}, which the migration added", row["id"]);
        }
    }
}

#[tokio::test]
async fn tables_of_another_tool_are_adopted_and_nothing_of_them_is_lost() {
    let (database, client) = of_another_tool(TABLES, ROWS).await;
    let schema_before = schema::structure(&client).await;
    let mut rows_before = Vec::new();
    for table in BASE_TABLES {
        rows_before.push(schema::rows(&client, table).await);
    }
    let migrate = migrate_on(&database).await;

    let first = run(&migrate).await;
    let after_the_first = schema::dump(&client).await;
    let second = run(&migrate).await;

    assert_eq!(first["applied"], json!(names()));
    assert_eq!(second["applied"], json!([]));
    assert_eq!(schema::dump(&client).await, after_the_first);
    let lost: Vec<_> = schema_before.difference(&after_the_first).collect();
    assert!(lost.is_empty(), "changed or gone: {lost:#?}");
    for (table, before) in BASE_TABLES.iter().zip(&rows_before) {
        assert_nothing_lost(&client, table, before).await;
    }
    // The flags are somebody else's, and have all that is needed, under whatever names: nothing is added to them.
    let added = after_the_first.difference(&schema_before).filter(|line| line.contains(" feature_flags"));
    let added: Vec<_> = added.filter(|line| !line.contains("REFERENCES feature_flags")).collect();
    assert!(added.is_empty(), "{added:#?}");
}

#[tokio::test]
async fn rows_of_another_tool_are_listed_cancelled_and_applied() {
    let (database, client) = of_another_tool(TABLES, ROWS).await;
    run(&migrate_on(&database).await).await;
    let api = Api::with().database(database).start().await;
    let admin = api.admin();

    let listed = api.list(&admin, "old-checkout", "").await;
    let future = "10000000-0000-4000-8000-000000000006";
    let cancelled = api.cancel(&admin, "old-checkout", future, "reason=too%20far").await;
    let tick = api.tick().await.value();
    let afterwards = api.list(&admin, "old-checkout", "").await;
    let events = api.events().await;

    assert_eq!(listed.status, 200, "{listed:?}");
    let column = |page: &Value, name: &str| -> Vec<Value> {
        page["schedules"].as_array().into_iter().flatten().map(|schedule| schedule[name].clone()).collect()
    };
    let statuses = json!(["applied", "failed", "cancelled", "pending", "pending", "pending"]);
    assert_eq!(json!(column(&listed.json, "status")), statuses);
    let first = &listed.json["schedules"][0];
    assert_eq!(first["scheduled_at"], "2025-02-01T09:00:00.123Z");
    assert_eq!(first["applied_at"], "2025-02-01T09:00:30.000Z");
    assert_eq!(first["updates"], json!({"enabled": true, "rollout_percentage": 10}));
    assert_eq!(listed.json["schedules"][1]["error_message"], "percentage out of range");
    for name in [
        "created_by",
        "cancelled_by",
        "cancelled_at",
        "apply_by",
        "reason",
        "cancel_reason",
        "failed_at",
        "error_code",
        "expect",
    ] {
        assert_eq!(column(&listed.json, name), vec![Value::Null; 6], "{name}");
    }

    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(cancelled.json["created_by"], Value::Null);
    assert_eq!(
        (tick["applied"].as_u64(), tick["failed_invalid_updates"].as_u64()),
        (Some(1), Some(1)),
        "{tick}"
    );
    assert_eq!(api.flag_state("old-checkout", "production").await, (false, 55));
    assert_eq!(api.flag_state("old-checkout", "staging").await, (true, 100));
    let statuses = json!(["applied", "failed", "cancelled", "applied", "failed", "cancelled"]);
    assert_eq!(json!(column(&afterwards.json, "status")), statuses);
    assert_eq!(afterwards.json["schedules"][4]["error_code"], "invalid_updates");

    let applied = only(&events, "flag_schedule.applied");
    assert_eq!(applied["schedule"]["created_by"], Value::Null);
    assert_eq!(applied["schedule"]["updates"], json!({"rollout_percentage": 55}));
    assert_eq!(only(&events, "flag_schedule.failed")["error"]["code"], "invalid_updates");
    assert_eq!(only(&events, "flag_schedule.cancelled")["schedule_id"], future);

    // What the service knows nothing of is as it was.
    let sql = "select sum(retry_count), count(metadata) from feature_flag_schedules";
    let row = client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (4, 1));
}

#[tokio::test]
async fn the_other_tool_goes_on_writing_to_its_tables() {
    let (database, client) = of_another_tool(TABLES, ROWS).await;
    run(&migrate_on(&database).await).await;
    let api = Api::with().database(database).start().await;

    let theirs = r#"
        insert into feature_flags (flag_key, environment, owner_team) values ('newer', 'production', 'search');
        insert into feature_flag_schedules (flag_id, scheduled_at, updates, retry_count)
        select id, now() - interval '1 second', '{"enabled": true}', 0 from feature_flags where flag_key = 'newer'"#;
    execute(&client, theirs).await;
    let ours = api.create(&api.admin(), "newer", "", &turn_on()).await;
    api.tick().await.value();

    assert_eq!(ours.status, 201, "{ours:?}");
    assert_eq!(api.flag_state("newer", "production").await, (true, 0));
}

#[tokio::test]
async fn a_smaller_table_of_flags_is_completed() {
    let tables =
        "create table feature_flags (flag_key text not null, id uuid primary key default gen_random_uuid())";
    let rows = "insert into feature_flags (flag_key) values ('a'), ('b')";
    let (database, client) = of_another_tool(tables, rows).await;
    let before = schema::rows(&client, "feature_flags").await;
    let migrate = migrate_on(&database).await;

    run(&migrate).await;
    let after = schema::dump(&client).await;
    run(&migrate).await;

    assert_eq!(schema::dump(&client).await, after);
    let rows = schema::rows(&client, "feature_flags").await;
    assert_eq!(rows.len(), before.len());
    for row in &rows {
        assert!(
            before.iter().any(|old| old["id"] == row["id"] && old["flag_key"] == row["flag_key"]),
            "{row}"
        );
        assert_eq!((&row["enabled"], &row["environment"]), (&json!(false), &json!("production")));
    }
    let again = "insert into feature_flags (flag_key) values ('a')";
    let twice = client.execute(again, &[]).await.expect_err("one flag has one row");
    assert_eq!(twice.code().map(|code| code.code()), Some("23505"), "{twice:?}");
}

#[tokio::test]
async fn duplicate_flags_are_refused_clearly_and_nothing_is_left_half_done() {
    // Without its uniqueness, and with two rows for one flag.
    let tables =
        TABLES.replace(r#"constraint "UQ_7c01f3aa" unique (environment, flag_key)"#, "unique (id, flag_key)");
    let (database, client) = of_another_tool(&tables, ROWS).await;
    let twice = "insert into feature_flags (flag_key, environment) values ('old-checkout', 'staging')";
    execute(&client, twice).await;
    let before = schema::structure(&client).await;
    let flags = schema::rows(&client, "feature_flags").await;
    let migrate = migrate_on(&database).await;

    let told = refusal(&migrate).await;

    for part in ["create_feature_flags", "(flag_key, environment)=(old-checkout, staging)", "duplicated"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    assert_eq!(schema::dump(&client).await, before);
    assert_eq!(schema::rows(&client, "feature_flags").await, flags);

    // Once the owner has put it right, the same call works.
    let right = "delete from feature_flags where environment = 'staging' and owner_team = 'platform'";
    execute(&client, right).await;
    assert_eq!(run(&migrate).await["applied"], json!(names()));
}
