//! The guards bind the service's roles and their members, and nobody else.

use harness::database::Database;
use tokio_postgres::Client;

use super::work::do_all;
use super::{API, MIGRATE, PROCESSOR, connect_as, deployed, service};

/// A pending schedule, and what no role of the service may do with it.
const PENDING: &str = "insert into feature_flags (flag_key) values ('a');
    insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by)
    select id, now() + interval '1 day', '{}', 'alice' from feature_flags";
const REWRITE: [&str; 4] = [
    "update feature_flag_schedules set scheduled_at = now(), created_by = 'bob'",
    "update feature_flag_schedules set status = 'applied', applied_at = '2020-01-01'",
    "update feature_flag_schedules set status = 'pending', applied_at = null",
    "insert into audit_outbox (event_id, event_type, context, schedule) values (gen_random_uuid(), 'mine', '{}', '{}')",
];

/// Runs a statement as a role, in a transaction that never commits.
async fn try_as(client: &Client, role: &str, sql: &str) -> Result<(), String> {
    client.batch_execute(&format!("begin; set local role {role}")).await.unwrap();
    let result = client.batch_execute(sql).await;
    client.batch_execute("rollback").await.unwrap();
    result.map_err(|error| error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string))
}

/// A role that is none of the service's, with all rights on its tables.
async fn stranger(superuser: &Client, database: &Database, member_of: &str) -> String {
    let role = format!("stranger_{}_{}", database.name(), member_of);
    let sql = format!("create role {role}; grant all on all tables in schema public to {role}");
    superuser.batch_execute(&sql).await.unwrap();
    if !member_of.is_empty() {
        superuser.batch_execute(&format!("grant {member_of} to {role}")).await.unwrap();
    }
    role
}

async fn drop_role(superuser: &Client, role: &str) {
    superuser.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
}

#[tokio::test]
async fn another_tool_and_the_owner_may_do_what_they_could() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(PENDING).await.unwrap();
    let tool = stranger(&superuser, &database, "").await;

    for role in [tool.as_str(), MIGRATE, "postgres"] {
        let all =
            format!("{}; delete from feature_flag_schedules; delete from audit_outbox", REWRITE.join(";"));
        assert_eq!(try_as(&superuser, role, &all).await, Ok(()), "{role}");
    }
    drop_role(&superuser, &tool).await;
}

#[tokio::test]
async fn a_member_of_a_role_is_bound_as_the_role_is_whatever_else_it_was_granted() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(PENDING).await.unwrap();
    for member_of in [API, PROCESSOR] {
        let member = stranger(&superuser, &database, member_of).await;

        let rewrite = REWRITE.iter().filter(|sql| !sql.contains("status = 'pending'"));
        for sql in rewrite.chain(&["delete from feature_flag_schedules", "truncate feature_flag_schedules"]) {
            let refused = try_as(&superuser, &member, sql).await.unwrap_err();
            let expected = ["may not", "row-level security"];
            assert!(expected.iter().any(|words| refused.contains(words)), "{member_of}: {sql}: {refused}");
        }
        drop_role(&superuser, &member).await;
    }
}

#[tokio::test]
async fn a_deleted_flag_takes_its_schedules_along_whoever_deletes_it() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(PENDING).await.unwrap();
    let owner_of_flags = stranger(&superuser, &database, "").await;
    superuser
        .batch_execute(&format!("revoke all on feature_flag_schedules from {owner_of_flags}"))
        .await
        .unwrap();

    assert_eq!(try_as(&superuser, &owner_of_flags, "delete from feature_flags").await, Ok(()));
    drop_role(&superuser, &owner_of_flags).await;
}

#[tokio::test]
async fn the_database_says_who_wrote_an_event_but_not_of_older_ones() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(PENDING).await.unwrap();

    let cancel = "with c as (
            update feature_flag_schedules s set status = 'cancelled', cancelled_at = now(), cancelled_by = 'bob' returning flag_schedule_document(s, 'a', 'production') as document
        )
        insert into audit_outbox (event_id, event_type, context, schedule)
        select gen_random_uuid(), 'flag_schedule.cancelled', '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\"}}',
            c.document from c";
    connect_as(&database, API).await.batch_execute(cancel).await.unwrap();

    let row = superuser.query_one("select written_by from audit_outbox", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), API);
}

#[tokio::test]
async fn a_refusal_says_who_may_not_what_and_what_would_be_right() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    superuser.batch_execute(PENDING).await.unwrap();

    let client = connect_as(&database, API).await;
    let cancel = "update feature_flag_schedules set status = 'cancelled'";
    let refused = client.batch_execute(cancel).await.unwrap_err();

    let error = refused.as_db_error().unwrap();
    assert_eq!((error.code().code(), error.table()), ("42501", Some("feature_flag_schedules")));
    assert!(error.message().starts_with("the role flag_schedules_api may not update schedule "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("ends once")), "{error:?}");
}

/// Another update gives a row the number of its own transaction; the time of the transition stays the first one's.
#[tokio::test]
async fn no_later_transaction_can_add_the_event_of_a_transition() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    let due = PENDING.replace("now() + interval '1 day'", "now() - interval '1 second'");
    superuser.batch_execute(&due).await.unwrap();
    let create = "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, created_by)
        select gen_random_uuid(), id, now() + interval '1 day', '{}', 'eve' from feature_flags";
    let cancel =
        "update feature_flag_schedules set status = 'cancelled', cancelled_at = now(), cancelled_by = 'eve'
        where created_by = 'eve'";
    let apply =
        "update feature_flag_schedules set status = 'applied', applied_at = now() where created_by = 'alice'";
    let touch = "update feature_flag_schedules set updated_at = now()";
    let admin = r#"{"actor": {"type": "admin", "user_id": "eve", "email": null}, "request": {}}"#;
    let system = r#"{"actor": {"type": "system", "name": "schedule-processor"}, "request": {}}"#;

    for (role, change, event_type, context, creator) in [
        (API, create, "created", admin, "eve"),
        (API, cancel, "cancelled", admin, "eve"),
        (PROCESSOR, apply, "applied", system, "alice"),
    ] {
        let client = connect_as(&database, role).await;
        let event = format!(
            "insert into audit_outbox (event_id, event_type, context, schedule)
             select gen_random_uuid(), 'flag_schedule.{event_type}', '{context}', flag_schedule_document(s, 'a', 'production')
             from feature_flag_schedules s where created_by = '{creator}'"
        );
        // With its event, it is what the service does.
        client.batch_execute(&format!("begin; {change}; {event}; rollback")).await.unwrap();

        client.batch_execute(change).await.unwrap();
        let refused = client.batch_execute(&format!("begin; {touch}; {event}; commit")).await.unwrap_err();

        let refused = refused.as_db_error().map_or_else(|| refused.to_string(), ToString::to_string);
        assert!(refused.contains("does not fit what was done"), "{role}, {event_type}: {refused}");
        client.batch_execute("rollback").await.unwrap();
    }
    let written: i64 = superuser.query_one("select count(*) from audit_outbox", &[]).await.unwrap().get(0);
    assert_eq!(written, 0);
}

/// A trigger that rounds or sets the time makes no event of the service a forged one.
#[tokio::test]
async fn another_tools_trigger_may_write_the_times() {
    let database = deployed().await;
    let superuser = database.connect_as_superuser().await;
    let trigger = "create function rounds() returns trigger language plpgsql as $$ begin
            if tg_op = 'INSERT' then new.created_at := date_trunc('milliseconds', now()); end if;
            new.applied_at := date_trunc('milliseconds', new.applied_at);
            new.cancelled_at := clock_timestamp() + (new.cancelled_at - new.cancelled_at);
            return new;
        end $$;
        create trigger rounds before insert or update on feature_flag_schedules for each row execute function rounds()";
    superuser.batch_execute(trigger).await.unwrap();

    let api = service(database).await;
    api.flag("a", "production").await;

    do_all(&api).await;

    for function in ["create-schedule", "cancel-schedule", "schedule-processor"] {
        let logs = api.function(function).await.logs();
        let refused = logs.iter().find(|line| line.contains("the audit outbox could not be written"));
        assert_eq!(refused, None, "{function}");
    }
}
