//! The drill of `docs/database.md`: the database is restored to an earlier point, and the service goes on with the copy.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use harness::api::Api;
use harness::cloudwatch::Fault;
use harness::database::Database;
use harness::postgres::{self, bin_dir};
use harness::settings::workspace;
use serde_json::{Value, json};

use super::trail_world::{FLAG, World, assert_no_findings, turn_on_in, wait_until_due};
use crate::onboarding::blocks::blocks;
use crate::support::{in_seconds, text};

/// Runs one of PostgreSQL's programs, as the documentation has it.
async fn output(program: &str, args: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new(bin_dir().unwrap().join(program));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

/// What it prints.
fn succeeded(program: &str, output: &std::process::Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn run(program: &str, args: &[&str]) {
    succeeded(program, &output(program, args).await);
}

/// Runs the documented query on these results, each in a file of its own.
async fn list_pending_again(database: &Database, results: &[Value]) -> std::process::Output {
    let folder = harness::scratch::Scratch::create(None).unwrap();
    let files = results.iter().enumerate().map(|(number, result)| {
        let file = folder.path().join(format!("result-{number}.json"));
        std::fs::write(&file, result.to_string()).unwrap();
        file.display().to_string()
    });
    let result = format!("--set=result={}", files.collect::<Vec<_>>().join(" "));
    let query = workspace().join("migrations/operations/list_pending_again.sql").display().to_string();
    output("psql", &[&database.url(), "--no-psqlrc", "--csv", "--tuples-only", &result, "--file", &query])
        .await
}

/// What it lists: by id, what the next tick does and what the trail says.
async fn pending_again(database: &Database, results: &[Value]) -> BTreeMap<String, (String, String)> {
    let listed = succeeded("psql", &list_pending_again(database, results).await);
    // Reasons have further lines.
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        cells.get(2).filter(|id| uuid::Uuid::parse_str(id).is_ok())?;
        let trail = cells[1].split(' ').next().unwrap_or_default().to_owned();
        Some((cells[2].to_owned(), (cells[0].to_owned(), trail)))
    };
    listed.lines().filter_map(row).collect()
}

/// Schedule and event type of each finding of a kind, with what is said of it.
fn findings(result: &Value, kind: &str, said: &str) -> BTreeSet<(String, String, String)> {
    let list = result[kind].as_array().unwrap();
    let of = |it: &Value| {
        let event_type = text(it, "event_type").trim_start_matches("flag_schedule.").to_owned();
        let said = it[said].as_str().map_or_else(|| it[said].to_string(), str::to_owned);
        (text(it, "schedule_id").to_owned(), event_type, said)
    };
    assert_eq!(result[format!("{kind}_count")], list.len(), "{result:#}");
    list.iter().map(of).collect()
}

fn expect(entries: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    entries
        .iter()
        .map(|(id, event, said)| ((*id).to_owned(), (*event).to_owned(), (*said).to_owned()))
        .collect()
}

/// The service on another database, with the same audit log group.
async fn on_the_copy(world: &World, copy: Database) -> Api {
    let setup = Api::with().cloudwatch(&world.cloudwatch).database(copy);
    setup.env_everywhere("AUDIT_LOG_GROUP", Some(world.api.group.name())).start().await
}

async fn verify(api: &Api, from: &str) -> Value {
    api.settle().await;
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    api.function("verify-trail").await.invoke(&json!({"from": from, "to": in_seconds(0)})).await.value()
}

/// A change for a time, which may have to be applied by another one.
fn turn_on_at(at: DateTime<Utc>, apply_by: Option<DateTime<Utc>>) -> Value {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut body = turn_on_in(0);
    body["scheduled_at"] = json!(text(at));
    body["apply_by"] = json!(apply_by.map(text));
    body
}

/// Rows are not moved in time, for the verification would find that.
async fn wait_until(at: DateTime<Utc>) {
    let left = at - harness::clock::now() + TimeDelta::milliseconds(100);
    tokio::time::sleep(left.to_std().expect("this machine is too slow for the times of this test")).await;
}

#[tokio::test]
async fn a_restored_database_is_compared_with_the_trail_and_nothing_is_applied_again_that_was_decided_against()
 {
    let world = World::start().await;
    // Before the point: one of each end, and an event that is undelivered at that moment.
    let applied_before = world.create(&turn_on_in(1)).await;
    let cancelled_before = world.create(&turn_on_in(3600)).await;
    world.cancel(&cancelled_before).await;
    wait_until_due().await;
    assert_eq!(world.api.tick().await.value()["applied"], 1);
    // Pending at the point. The original lives until `lost`.
    let due = harness::clock::now() + TimeDelta::seconds(6);
    let lost = due + TimeDelta::seconds(6);
    let applied_and_left = world.create(&turn_on_at(due, None)).await;
    let applied_and_unwanted = world.create(&turn_on_at(due, None)).await;
    let applied_and_expired = world.create(&turn_on_at(due, Some(lost))).await;
    let cancelled_after = world.create(&turn_on_at(due, None)).await;
    let cancelled_far_ahead = world.create(&turn_on_in(3600)).await;
    let not_yet = world.create(&turn_on_at(lost, None)).await;
    let far_ahead = world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    world.cloudwatch.from_now_on(Fault::UNAVAILABLE);
    let undelivered = world.create(&turn_on_in(3600)).await;
    world.api.settle().await;

    // The point. The window begins before it: what was undelivered then is delivered twice.
    let from = in_seconds(-3600);
    let copy = Database::empty().await;
    let folder = harness::scratch::Scratch::create(None).unwrap();
    let dump = folder.path().join("flags.dump").display().to_string();
    let file = format!("--file={dump}");
    run("pg_dump", &["--format=custom", &file, &world.api.database.superuser_url()]).await;
    let target = format!("--dbname={}", copy.superuser_url());
    run("pg_restore", &["--exit-on-error", &target, &dump]).await;

    // The original goes on.
    world.cloudwatch.heal();
    for id in [&cancelled_after, &cancelled_far_ahead] {
        world.cancel(id).await;
    }
    wait_until(due).await;
    assert_eq!(world.api.tick().await.value()["applied"], 3);
    world.deliver().await;
    let created_after = world.create(&turn_on_in(3600)).await;
    let ended_after = world.create(&turn_on_in(3600)).await;
    world.cancel(&ended_after).await;
    assert_no_findings(&world.verify().await);
    // It is closed, and the copy is not.
    let close =
        format!("alter database {} set default_transaction_read_only = on", world.api.database.name());
    world.api.database.connect_as_superuser().await.batch_execute(&close).await.unwrap();
    world.api.database.terminate_connections().await;
    assert_eq!(world.api.create(&world.token, FLAG, "", &turn_on_in(3600)).await.status, 503);
    wait_until(lost).await;

    // The stack is switched to the copy, with its ticks stopped.
    let api = on_the_copy(&world, copy).await;
    let first = verify(&api, &from).await;

    let unknown = expect(&[
        (&created_after, "created", "no_schedule"),
        (&ended_after, "created", "no_schedule"),
        (&ended_after, "cancelled", "no_schedule"),
    ]);
    let different = expect(&[
        (&applied_and_left, "applied", "pending"),
        (&applied_and_unwanted, "applied", "pending"),
        (&applied_and_expired, "applied", "pending"),
        (&cancelled_after, "cancelled", "pending"),
        (&cancelled_far_ahead, "cancelled", "pending"),
    ]);
    assert_eq!(first["missing"], json!([]), "{first:#}");
    assert_eq!(findings(&first, "unknown", "reason"), unknown, "{first:#}");
    assert_eq!(findings(&first, "different", "row_status"), different, "{first:#}");

    // What ticks are going to do.
    let listed = pending_again(&api.database, std::slice::from_ref(&first)).await;
    let entries = [
        (&applied_and_left, "applied", "applied"),
        (&applied_and_unwanted, "applied", "applied"),
        (&applied_and_expired, "failed", "applied"),
        (&cancelled_after, "applied", "cancelled"),
        (&cancelled_far_ahead, "later", "cancelled"),
        (&not_yet, "applied", ""),
    ];
    let expected: BTreeMap<_, _> = entries
        .iter()
        .map(|(id, next, trail)| ((*id).clone(), ((*next).to_owned(), (*trail).to_owned())))
        .collect();
    assert_eq!(listed, expected);
    // The same in two windows that overlap.
    let mut half = first.clone();
    half["different"].as_array_mut().unwrap().truncate(3);
    half["different_count"] = json!(3);
    assert_eq!(pending_again(&api.database, &[half, first.clone()]).await, expected);

    // What must not be applied is cancelled, by the API.
    let token = api.admin();
    for id in [&applied_and_unwanted, &cancelled_after, &cancelled_far_ahead] {
        let cancelled = api.cancel(&token, FLAG, id, "reason=restored").await;
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
    }

    // Ticks start.
    let restart = in_seconds(0);
    let report = api.tick().await.value();
    assert_eq!((&report["applied"], &report["failed_expired"]), (&json!(2), &json!(1)), "{report:#}");
    assert_eq!(api.tick().await.value()["applied"], 0);
    let late = "update audit_outbox set written_at = written_at - interval '1 minute'";
    api.database.connect_as_superuser().await.batch_execute(late).await.unwrap();
    assert_eq!(api.tick().await.value()["audit_backlog"], 0);
    let events = world.cloudwatch.events();
    let applied = |id: &str| {
        events
            .iter()
            .filter(|it| it["schedule_id"] == id && it["event_type"] == "flag_schedule.applied")
            .count()
    };
    assert_eq!([&applied_before, &applied_and_left, &not_yet].map(|id| applied(id)), [1, 2, 1]);
    assert_eq!([&applied_and_unwanted, &cancelled_after, &far_ahead].map(|id| applied(id)), [1, 0, 0]);

    // The findings of that time stay, as documented; what is new has none.
    let second = verify(&api, &from).await;
    let different = expect(&[
        (&applied_and_left, "applied", r#"["lateness_ms","occurred_at"]"#),
        (&applied_and_unwanted, "applied", r#"["event_type"]"#),
        (&applied_and_expired, "applied", r#"["event_type"]"#),
        (&cancelled_after, "cancelled", r#"["cancel_reason","occurred_at"]"#),
        (&cancelled_far_ahead, "cancelled", r#"["cancel_reason","occurred_at"]"#),
    ]);
    assert_eq!(second["missing"], json!([]), "{second:#}");
    assert_eq!(findings(&second, "unknown", "reason"), unknown, "{second:#}");
    assert_eq!(findings(&second, "different", "fields"), different, "{second:#}");
    // Delivered by the original, and again from the copy's outbox.
    assert_eq!(second["duplicates"], 1, "{second:#}");
    assert!(events.iter().filter(|it| it["schedule_id"] == undelivered).count() == 2);
    assert_no_findings(&verify(&api, &restart).await);
    assert!(pending_again(&api.database, &[second]).await.is_empty());

    // The original is opened again, by its owner, whose sessions are read-only too.
    let documented =
        blocks("docs/database.md").into_iter().find(|block| block.text.contains("reset default_transaction"));
    let open = documented.expect("the document has the statements").text;
    let open = open.replace("database flags", &format!("database {}", world.api.database.name()));
    let owner = postgres::connect(&world.api.database.url()).await.unwrap();
    owner.batch_execute(&open).await.unwrap();
    world.api.database.terminate_connections().await;
    assert_eq!(world.api.create(&world.token, FLAG, "", &turn_on_in(3600)).await.status, 201);
}

/// A schedule that was cancelled would be listed as if it had not ended, and then be applied.
#[tokio::test]
async fn a_result_that_does_not_name_every_end_lists_nothing() {
    let database = Database::migrated().await;
    let window = |from: &str, to: &str| json!({"from": from, "to": to, "complete": true, "resume": null, "different_count": 0, "different": []});
    let whole = window("2026-03-02T08:00:00.000Z", "2026-03-02T09:00:00.000Z");
    let later = window("2026-03-02T09:00:00.001Z", "2026-03-02T10:00:00.000Z");
    let changed = |field: &str, value: Value| {
        let mut result = whole.clone();
        result[field] = value;
        result
    };
    let resumable = changed("complete", json!(false));

    for (results, told) in [
        (
            vec![json!({"errorType": "TrailUnreadable", "errorMessage": "x"})],
            "result 1 is not a result of verify-trail: {\"err",
        ),
        (vec![json!({})], "result 1 is not a result of verify-trail: {}"),
        (vec![json!(null)], "result 1 is not a result of verify-trail: null"),
        (vec![json!([])], "result 1 is not a result of verify-trail: []"),
        (vec![changed("different", json!({}))], "result 1 is not a result of verify-trail: "),
        (vec![resumable.clone()], "result 1 is not complete; verify shorter windows"),
        (vec![changed("complete", Value::Null)], "result 1 is not complete; verify shorter windows"),
        (vec![changed("different_count", json!(1))], "result 1 does not list all that is different"),
        (vec![changed("different_count", Value::Null)], "result 1 does not list all that is different"),
        (vec![whole.clone(), resumable], "result 2 is not complete"),
        (
            vec![whole.clone(), later],
            "result 2 begins at 2026-03-02T09:00:00.001Z, after the end of the window before it",
        ),
        (vec![], "result 1 is missing"),
    ] {
        let output = list_pending_again(&database, &results).await;

        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(told), "{results:?}: {said}");
        assert!(output.stdout.is_empty(), "{results:?}: {output:?}");
    }
    let listed = succeeded("psql", &list_pending_again(&database, &[whole]).await);
    assert_eq!(listed, "");
}
