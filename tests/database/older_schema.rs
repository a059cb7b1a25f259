//! A schema older or newer than the code: what can work works, the rest is refused clearly, and nothing but `migrate`
//! ever changes it.

use harness::api::Api;
use harness::database::Database;
use harness::gateway::Response;
use harness::lambda::{Function, Outcome};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::processor::crowd::count;
use crate::support::{LIMIT, text, turn_on};

/// What a refusal says to do.
const ADVICE: &str = "run `migrate`";

/// The migrations of this release, in order.
fn migrations() -> Vec<String> {
    let folder = harness::settings::workspace().join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// How many of them a database is behind that lacks this one.
fn since(change: &str) -> usize {
    let names = crate::migrations::names();
    let first = names.iter().position(|name| name.ends_with(change));
    names.len() - first.unwrap_or_else(|| panic!("there is no migration {change}"))
}

/// A database as a release had it whose last migrations are not these.
async fn older_by(missing: usize) -> Database {
    let database = Database::empty().await;
    let client = database.connect().await;
    let migrations = migrations();
    for migration in &migrations[..migrations.len() - missing] {
        client.batch_execute(migration).await.unwrap();
    }
    database
}

/// What the functions could have made of the schema.
async fn columns(client: &Client) -> Vec<String> {
    let sql = "select table_name || '.' || column_name from information_schema.columns
        where table_schema = 'public' order by 1";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// It works, or it is a 500 whose reason the log tells together with what to do. Gives whether it works.
async fn works_or_is_refused(function: &Function, answer: &Response, missing: usize) -> bool {
    if answer.status < 300 {
        return true;
    }
    let name = function.name();
    assert_eq!(answer.status, 500, "{name}, {missing} migrations behind: {answer:?}");
    assert_eq!(answer.json["code"], "internal_error", "{name}, {missing} migrations behind: {answer:?}");
    for word in ["relation", "column", "migrate"] {
        assert!(!answer.text.contains(word), "{name} tells the caller of its database: {answer:?}");
    }
    let request_id = text(&answer.json, "request_id");
    let line = function.wait_for_log(|line| line.contains("ERROR") && line.contains(request_id), LIMIT).await;
    assert!(
        line.contains("does not exist"),
        "{name}, {missing} migrations behind, does not tell why: {line}"
    );
    assert!(line.contains(ADVICE), "{name}, {missing} migrations behind, does not tell what to do: {line}");
    false
}

/// Everything once, on a schema from before the last migrations. Gives what works: create, list, cancel, tick.
async fn all_calls(missing: usize) -> [bool; 4] {
    let api = Api::with().database(older_by(missing).await).start().await;
    let client = api.database.connect().await;
    let before = columns(&client).await;
    let mut schedule = Uuid::nil();
    if before.iter().any(|column| column == "feature_flag_schedules.id") {
        let flag = api.flag("a", "production").await;
        let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
            values ($1, now() + interval '1 hour', '{\"enabled\": true}') returning id";
        schedule = client.query_one(sql, &[&flag]).await.unwrap().get(0);
    }
    let token = api.admin();

    let answers = [
        ("create-schedule", api.create(&token, "a", "", &turn_on()).await),
        ("list-schedules", api.list(&token, "a", "").await),
        ("cancel-schedule", api.cancel(&token, "a", &schedule.to_string(), "").await),
    ];
    let tick = api.tick().await;

    let mut works = [false; 4];
    for (works, (name, answer)) in works.iter_mut().zip(&answers) {
        *works = works_or_is_refused(api.function(name).await, answer, missing).await;
    }
    match tick.outcome {
        Outcome::Ok(_) => works[3] = true,
        Outcome::FunctionError(error) => {
            assert_eq!(error.error_type, "DatabaseRefused", "{missing} migrations behind: {error}");
            assert!(error.message.contains("does not exist"), "{missing} migrations behind: {error}");
            assert!(error.message.contains(ADVICE), "{missing} migrations behind: {error}");
        }
        Outcome::TimedOut => panic!("{missing} migrations behind, the tick timed out"),
    }
    assert_eq!(columns(&client).await, before, "only `migrate` may change the schema");
    works
}

#[tokio::test]
async fn without_the_newest_function_only_what_needs_it_is_refused() {
    let [create, list, cancel, tick] = all_calls(since("add_schedule_document")).await;

    assert!(!create && !list && !cancel, "create: {create}, list: {list}, cancel: {cancel}");
    assert!(tick, "nothing is due, so nothing is missing");
}

#[tokio::test]
async fn on_any_older_schema_every_call_works_or_is_refused_clearly() {
    for missing in 1..migrations().len() {
        all_calls(missing).await;
    }
}

#[tokio::test]
async fn on_a_database_that_was_never_migrated_every_call_is_refused_clearly() {
    assert_eq!(all_calls(migrations().len()).await, [false; 4]);
}

#[tokio::test]
async fn once_migrated_the_same_functions_work_without_a_restart() {
    let api = Api::with().database(Database::empty().await).start().await;
    let token = api.admin();
    let refused = api.create(&token, "a", "", &turn_on()).await;
    api.tick().await.error();
    let process = api.function("create-schedule").await.pid();

    api.function("migrate").await.invoke(&Value::Null).await.value();
    api.flag("a", "production").await;
    let created = api.create(&token, "a", "", &turn_on()).await;
    api.tick().await.value();

    assert_eq!((refused.status, created.status), (500, 201), "{refused:?}, {created:?}");
    assert_eq!(api.function("create-schedule").await.pid(), process);
    assert_eq!(api.events().await.len(), 1);
}

#[tokio::test]
async fn on_a_newer_schema_everything_works() {
    let api = Api::start().await;
    let client = api.database.connect().await;
    let newer = "
        alter table feature_flags add column owner text not null default 'nobody';
        alter table feature_flag_schedules add column retries integer not null default 0;
        alter table audit_outbox add column attempts integer not null default 0;
        create table approvals (schedule_id uuid primary key references feature_flag_schedules (id) on delete cascade);
        create index on feature_flag_schedules (retries);
        insert into flag_schedules_schema_history (version, name, applied_on, checksum)
        values (29991231235959, 'add_approvals', '2999-12-31T23:59:59Z', '1234567890')";
    client.batch_execute(newer).await.unwrap();
    api.flag("a", "production").await;
    let token = api.admin();

    let created = api.create(&token, "a", "", &turn_on()).await;
    let due = api.create(&token, "a", "", &turn_on()).await;
    let listed = api.list(&token, "a", "").await;
    let cancelled = api.cancel(&token, "a", text(&created.json, "id"), "").await;
    api.make_due(text(&due.json, "id"), crate::support::A_MOMENT).await;
    let report = api.tick().await.value();

    let statuses = [&created, &due, &listed, &cancelled].map(|answer| answer.status);
    assert_eq!(statuses, [201, 201, 200, 200], "{created:?} {due:?} {listed:?} {cancelled:?}");
    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(api.events().await.len(), 4);
    assert_eq!(count(&client, "select count(*) from audit_outbox").await, 0);
}
