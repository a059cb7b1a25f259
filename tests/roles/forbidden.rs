//! What each role may not do: all of it ends with "insufficient privilege", and changes nothing.

use harness::database::Database;
use tokio_postgres::Client;

use super::{API, MIGRATE, PROCESSOR, READER, connect_as, deployed};

/// What none of the roles at run time may do.
const TO_ALL: &[&str] = &[
    // The schema.
    "drop table feature_flag_schedules",
    "drop table audit_outbox",
    "alter table feature_flags add column mine text",
    "alter table feature_flag_schedules drop column reason",
    "alter table audit_outbox disable trigger all",
    "create table mine (id int)",
    "create index on feature_flag_schedules (reason)",
    "create schema mine",
    "create function mine() returns int language sql as 'select 1'",
    "comment on table feature_flags is 'mine'",
    "grant select on feature_flags to public",
    // Whole tables.
    "truncate feature_flags cascade",
    "truncate feature_flag_schedules",
    "truncate audit_outbox",
    "lock table feature_flags in access exclusive mode",
    // Flags are somebody else's.
    "delete from feature_flags",
    "insert into feature_flags (flag_key) values ('b')",
    "update feature_flags set flag_key = 'b'",
    "update feature_flags set environment = 'b'",
    "select description from feature_flags",
    "select * from feature_flags",
    // What was asked for, by whom and when, stays as it is.
    "delete from feature_flag_schedules",
    "select flag_schedules_delete_ended('400 days', 1)",
    "update feature_flag_schedules set updates = '{}'",
    "update feature_flag_schedules set scheduled_at = now()",
    "update feature_flag_schedules set apply_by = now()",
    "update feature_flag_schedules set expect = null",
    "update feature_flag_schedules set flag_id = flag_id",
    "update feature_flag_schedules set created_by = 'me'",
    "update feature_flag_schedules set created_at = now()",
    "update feature_flag_schedules set reason = 'mine'",
    "update feature_flag_schedules set idempotency_key = 'mine'",
    "insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_at) select id, now(), '{}', now() from feature_flags",
    // So does what an event says.
    "update audit_outbox set schedule = '{}'",
    "update audit_outbox set context = '{}'",
    "update audit_outbox set event_type = 'mine'",
    "update audit_outbox set written_at = now()",
    "insert into audit_outbox (event_id, event_type, context, schedule, written_at) values (gen_random_uuid(), '', '{}', '{}', now())",
    // What is not the service's at all.
    "select version from flag_schedules_schema_history",
    "select text from elsewhere.letters",
    "select pg_read_file('postgresql.conf')",
    "copy feature_flag_schedules to '/tmp/mine'",
    "create role mine",
    "alter role flag_schedules_migrate login",
    "create database mine",
    "set role flag_schedules_migrate",
    "set session authorization postgres",
];

/// What of the processor's work the API may not do.
const TO_API: &[&str] = &[
    "update feature_flags set enabled = true",
    "update feature_flags set rollout_percentage = 100",
    "update feature_flags set updated_at = now()",
    "select enabled from feature_flags",
    "select id from feature_flags for no key update",
    "update feature_flag_schedules set applied_at = now()",
    "update feature_flag_schedules set failed_at = now()",
    "update feature_flag_schedules set error_code = 'mine'",
    "update feature_flag_schedules set error_message = 'mine'",
];

/// What of the API's work the processor may not do.
const TO_PROCESSOR: &[&str] = &[
    "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates) select gen_random_uuid(), id, now(), '{}' from feature_flags",
    "update feature_flag_schedules set cancelled_at = now()",
    "update feature_flag_schedules set cancelled_by = 'me'",
    "update feature_flag_schedules set cancel_reason = 'mine'",
    "update feature_flag_schedules set id = gen_random_uuid()",
];

/// What the owner of the tables may not do.
const TO_MIGRATE: &[&str] = &[
    "select text from elsewhere.letters",
    "create schema mine",
    "create database mine",
    "create role mine",
    "grant flag_schedules_api to flag_schedules_processor",
    "alter role flag_schedules_api set statement_timeout = 0",
    "select pg_read_file('postgresql.conf')",
    "copy feature_flags to '/tmp/mine'",
    "set session authorization postgres",
];

/// A deployment with a flag, a schedule and an event, and with another schema that is none of the service's business.
async fn with_rows() -> Database {
    let database = deployed().await;
    let rows = "
        create schema elsewhere; create table elsewhere.letters (text text);
        insert into feature_flags (flag_key) values ('a');
        insert into feature_flag_schedules (flag_id, scheduled_at, updates) select id, now() + interval '1 day', '{}' from feature_flags;
        insert into audit_outbox (event_id, event_type, context, schedule) values (gen_random_uuid(), 'x', '{}', '{}')";
    database.connect_as_superuser().await.batch_execute(rows).await.unwrap();
    database
}

/// All rows of the service's tables as one text.
async fn rows(superuser: &Client) -> String {
    let sql = "select concat(
        (select jsonb_agg(to_jsonb(t) order by t.id) from feature_flags t),
        (select jsonb_agg(to_jsonb(t) order by t.id) from feature_flag_schedules t),
        (select jsonb_agg(to_jsonb(t) order by t.event_id) from audit_outbox t))";
    superuser.query_one(sql, &[]).await.unwrap().get(0)
}

/// Runs each statement in a transaction that never commits; tells those that were not refused for want of a right.
async fn assert_forbidden(role: &str, statements: impl IntoIterator<Item = &'static &'static str>) {
    let database = with_rows().await;
    let superuser = database.connect_as_superuser().await;
    let before = rows(&superuser).await;
    let client = connect_as(&database, role).await;
    // A default of the reader, which it could change itself.
    client.batch_execute("set default_transaction_read_only = off").await.unwrap();
    let mut faults = Vec::new();
    for statement in statements {
        // `create database` cannot run in a transaction; it is not to be run at all.
        let block = !statement.starts_with("create database");
        if block {
            client.batch_execute("begin").await.unwrap();
        }
        let code = match client.batch_execute(statement).await {
            Ok(()) => "done".to_owned(),
            Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
        };
        if block {
            client.batch_execute("rollback").await.unwrap();
        }
        if code != "42501" {
            faults.push(format!("{code}: {statement}"));
        }
    }

    assert!(faults.is_empty(), "{role} was expected to be refused with 42501:\n{}", faults.join("\n"));
    assert_eq!(rows(&superuser).await, before, "{role}");
}

#[tokio::test]
async fn the_role_of_the_api_may_do_nothing_else() {
    assert_forbidden(API, TO_ALL.iter().chain(TO_API)).await;
}

#[tokio::test]
async fn the_role_of_the_processor_may_do_nothing_else() {
    assert_forbidden(PROCESSOR, TO_ALL.iter().chain(TO_PROCESSOR)).await;
}

#[tokio::test]
async fn the_role_of_the_reader_may_do_nothing_else() {
    const TO_READER: &[&str] = &[
        "update audit_outbox set dead_at = now()",
        "delete from audit_outbox",
        "insert into audit_outbox (event_id, event_type, context, schedule) values (gen_random_uuid(), '', '{}', '{}')",
        "select id from feature_flag_schedules for key share",
        "update feature_flag_schedules set status = 'cancelled'",
    ];
    assert_forbidden(READER, TO_ALL.iter().chain(TO_API).chain(TO_PROCESSOR).chain(TO_READER)).await;
}

#[tokio::test]
async fn the_role_of_migrate_owns_the_tables_and_no_more() {
    assert_forbidden(MIGRATE, TO_MIGRATE).await;
}
