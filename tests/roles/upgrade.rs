//! From the release before the guards, whose roles have no reader: nothing stops working on the way.

use harness::api::Api;
use harness::lambda::{Env, Function};
use harness::postgres::{Options, ROLES, Server, Stop, connect};
use serde_json::json;

use super::work::do_all;
use super::{API, MIGRATE, READER};
use crate::support::of_type;

/// The schema as the release before left it.
const BEFORE: &str = "
    drop trigger flag_schedules_guard_insert on feature_flag_schedules;
    drop trigger flag_schedules_guard_update on feature_flag_schedules;
    drop trigger flag_schedules_guard_delete on feature_flag_schedules;
    drop trigger flag_schedules_check_events on audit_outbox;
    alter table audit_outbox disable row level security;
    drop policy everyone_reads on audit_outbox;
    drop policy api_writes on audit_outbox;
    drop policy processor_writes on audit_outbox;
    drop policy writer_and_processor_settle on audit_outbox;
    drop policy writer_and_processor_delete on audit_outbox;
    drop policy others_as_granted on audit_outbox;
    alter table audit_outbox drop column written_by;
    drop function flag_schedules_check_events, flag_schedules_refuse, flag_schedules_is_guarded, flag_schedules_acts_as,
        flag_schedules_delete_ended, flag_schedules_hold_events;
    delete from flag_schedules_schema_history where version >= 20261126010000;
    drop owned by flag_schedules_reader;
    drop role flag_schedules_reader;
    alter role flag_schedules_api in database flags reset search_path;
    alter role flag_schedules_processor in database flags reset search_path;
    alter role flag_schedules_migrate in database flags reset search_path;
    insert into feature_flags (flag_key) values ('old');
    insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by)
    select id, now() - interval '1 minute', '{\"enabled\": true}', 'alice' from feature_flags;
    insert into audit_outbox (event_id, event_type, context, schedule, written_at)
    select '01900000-0000-7000-8000-000000000000', 'flag_schedule.created',
        '{\"actor\": {\"type\": \"admin\", \"user_id\": \"alice\", \"email\": null},
          \"request\": {\"request_id\": \"r\", \"source_ip\": null, \"user_agent\": null}}',
        flag_schedule_document(s, 'old', 'production'), now() - interval '1 minute'
    from feature_flag_schedules s";

/// As the release before has it: with both roles, no temporary tables last, no guard known.
const PREVIOUS_CANCEL: &str = "with cancelled as (
        update feature_flag_schedules s
        set status = 'cancelled', cancelled_at = now(), cancelled_by = 'bob', cancel_reason = null, updated_at = now()
        from feature_flags f
        where f.id = s.flag_id and f.flag_key = 'a' and s.status = 'pending'
        returning s.*
    )
    insert into audit_outbox (event_id, event_type, context, schedule)
    select gen_random_uuid(), 'flag_schedule.cancelled',
        '{\"actor\": {\"type\": \"admin\", \"user_id\": \"bob\", \"email\": null}, \"request\": {\"request_id\": \"r\"}}',
        flag_schedule_document(c, 'a', 'production')
    from cancelled c";

#[tokio::test]
async fn a_deployment_of_the_release_before_gets_the_guards_first_and_the_reader_when_somebody_runs_the_file()
{
    let mut server = Server::start(Options { careless: true, ..Options::default() }).await.unwrap();
    server.create_database("flags").await.unwrap();
    let superuser = connect(&server.url("flags")).await.unwrap();
    superuser.batch_execute(ROLES).await.unwrap();
    let url = server.service_url("flags");
    let as_role = |role: &str| harness::postgres::as_role(&url, role);
    let migrate = || async {
        let migrate =
            Function::start("migrate", Env::new().set("DATABASE_URL", as_role(MIGRATE))).await.unwrap();
        migrate.invoke(&json!({})).await.value()
    };
    migrate().await;
    // Roles belong to the server: the mark in `postgres` has to go, too.
    let elsewhere = connect(&server.url("postgres")).await.unwrap();
    elsewhere.batch_execute(&format!("drop owned by {READER}")).await.unwrap();
    superuser.batch_execute(BEFORE).await.unwrap();
    superuser.batch_execute("grant all on all tables in schema public to flag_schedules").await.unwrap();
    let previous = connect(&as_role(API)).await.unwrap();

    let applied = migrate().await;
    let guards = ["V20261126010000__guard_schedules", "V20261126010100__guard_audit_outbox"];
    assert!(
        guards.iter().all(|guard| applied["applied"].as_array().unwrap().contains(&(*guard).into())),
        "{applied}"
    );

    // The release before goes on working.
    let schedule = "insert into feature_flags (flag_key) values ('a');
        insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by)
        select id, now() + interval '1 day', '{}', 'alice' from feature_flags where flag_key = 'a'";
    superuser.batch_execute(schedule).await.unwrap();
    previous.batch_execute(PREVIOUS_CANCEL).await.unwrap();
    superuser.batch_execute("delete from feature_flag_schedules where status = 'cancelled'; delete from audit_outbox where written_by is not null; delete from feature_flags where flag_key = 'a'").await.unwrap();

    // So does this one, which lists as the API until there is a reader.
    let database = harness::database::Database::existing(&server.url("flags"), &url);
    let setup = Api::with().as_roles(&url).env("list-schedules", "DATABASE_URL", Some(&as_role(API)));
    let api = setup.database(database).start().await;
    let tick = api.tick().await.value();
    assert_eq!(tick["applied"], 1, "{tick:#}");
    assert_eq!(of_type(&api.events().await, "flag_schedule.created").len(), 1, "what was undelivered before");
    api.list(&api.admin(), "old", "").await;

    superuser.batch_execute(ROLES).await.unwrap();
    let password = format!("alter role {READER} password '{}'", server.password());
    superuser.batch_execute(&password).await.unwrap();
    migrate().await;
    let database = harness::database::Database::existing(&server.url("flags"), &url);
    let api = Api::with().as_roles(&url).database(database).start().await;
    api.flag("a", "production").await;
    do_all(&api).await;
    server.stop(Stop::Immediate).await;
}
