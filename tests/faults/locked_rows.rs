//! Locks of others, and errors of one flag: everybody else is served in the same tick, without waiting.

use std::time::Duration;

use harness::api::Api;
use harness::lambda::Outcome;
use serde_json::Value;
use tokio_postgres::Client;

use super::fault_kinds::CODES;
use crate::processor::crowd::count;
use crate::support::of_type;

/// A tick that waits for nobody is over by then.
const AT_ONCE: Duration = Duration::from_secs(5);
/// SQLSTATEs besides those of the matrix: what a trigger may say on purpose or because something broke below it.
pub const MORE_CODES: [&str; 8] = ["08000", "21000", "22P02", "23505", "26000", "57P01", "57P03", "F0000"];

/// Flags `flag-1` to `flag-COUNT`, each with one due schedule, the first the oldest.
pub async fn fill(client: &Client, flags: i32) {
    let sql = format!(
        "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {flags}) n;
         insert into feature_flag_schedules (flag_id, scheduled_at, updates)
         select id, now() - interval '1 hour' + interval '1 second' * substr(flag_key, 6)::int, '{{\"enabled\": true}}'
         from feature_flags"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// What somebody holds who has updated the schedules of the first flags.
const SCHEDULES_OF_FIRST: &str = "begin; update feature_flag_schedules s set updated_at = now()
    from feature_flags f where f.id = s.flag_id and substr(f.flag_key, 6)::int <= ";

/// Somebody holds the oldest `locked` of forty due schedules; the first tick does all others.
async fn all_but_the_locked(locked: i32) {
    let api = Api::start().await;
    let somebody = api.database.connect().await;
    fill(&somebody, 40).await;
    api.function("schedule-processor").await;
    somebody.batch_execute(&format!("{SCHEDULES_OF_FIRST}{locked}")).await.unwrap();

    let tick = api.tick().await;

    let after = tick.response_after;
    let report = tick.value();
    assert_eq!(report["applied"], 40 - locked, "{report:#}");
    assert_eq!(report["still_due"], locked, "{report:#}");
    assert!(after < AT_ONCE, "after {after:?}");
    somebody.batch_execute("rollback").await.unwrap();
    assert_eq!(api.tick().await.value()["applied"], locked);
}

#[tokio::test]
async fn a_transaction_that_holds_twelve_of_forty_due_schedules_delays_no_other() {
    all_but_the_locked(12).await;
}

#[tokio::test]
async fn a_transaction_that_holds_three_of_forty_due_schedules_delays_no_other() {
    all_but_the_locked(3).await;
}

#[tokio::test]
async fn a_tick_that_finds_everything_locked_fails_and_says_so() {
    let api = Api::start().await;
    let somebody = api.database.connect().await;
    fill(&somebody, 5).await;
    somebody.batch_execute(&format!("{SCHEDULES_OF_FIRST}5")).await.unwrap();

    let tick = api.tick().await;

    assert!(tick.response_after < AT_ONCE, "after {:?}", tick.response_after);
    let error = tick.error();
    assert!(!error.error_type.starts_with("Runtime."), "{error}");
    assert!(error.message.contains("lock"), "it does not say that all is locked: {error}");
    somebody.batch_execute("rollback").await.unwrap();
    assert_eq!(api.tick().await.value()["applied"], 5);
}

/// Lets every update of the flag `flag-1` fail with a SQLSTATE.
async fn poison(client: &Client, code: &str) {
    let sql = format!(
        "create or replace function poison() returns trigger language plpgsql as $$
         begin
             if new.flag_key = 'flag-1' then raise exception 'poison %', '{code}' using errcode = '{code}'; end if;
             return new;
         end $$;
         drop trigger if exists poison on feature_flags;
         create trigger poison before update on feature_flags for each row execute function poison()"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn whatever_the_trigger_of_one_flag_raises_all_other_flags_are_applied_in_the_same_tick() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    let mut faults = Vec::new();

    for code in CODES.into_iter().chain(MORE_CODES) {
        client.batch_execute("delete from feature_flags; delete from audit_outbox").await.unwrap();
        fill(&client, 6).await;
        poison(&client, code).await;
        let tick = api.tick().await;
        let sql = "select count(*) from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
            where s.status = 'applied' and f.flag_key <> 'flag-1'";
        let applied = count(&client, sql).await;
        let failed = "select count(*) from feature_flag_schedules where status = 'failed'";
        let failed = count(&client, failed).await;
        let after = tick.response_after;
        if applied != 5 || failed > 1 || after > AT_ONCE {
            faults.push(format!(
                "{code}: {applied} of 5 applied, {failed} failed, {after:?}; {:?}",
                tick.outcome
            ));
        }
    }

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[tokio::test]
async fn of_twenty_five_ticks_that_a_read_only_error_stops_none_says_success_without_having_done_anything() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, 1).await;
    poison(&client, "25006").await;
    let mut idle = Vec::new();

    for number in 1..=25 {
        match api.tick().await.outcome {
            Outcome::Ok(report) if ended(&report) == 0 => idle.push(format!("{number}: {report}")),
            Outcome::Ok(_) | Outcome::FunctionError(_) => {}
            Outcome::TimedOut => idle.push(format!("{number}: timed out")),
        }
    }

    let due = "select count(*) from feature_flag_schedules where status = 'pending'";
    assert!(count(&client, due).await == 0 || idle.is_empty(), "\n{}\n", idle.join("\n"));
    client.batch_execute("drop trigger poison on feature_flags").await.unwrap();
    let _ = api.tick().await;
    assert_eq!(count(&client, due).await, 0, "without the error, the schedule is done");
}

pub fn ended(report: &Value) -> u64 {
    let counts = report.as_object().into_iter().flatten();
    let counts = counts.filter(|(name, _)| *name == "applied" || name.starts_with("failed"));
    counts.filter_map(|(_, count)| count.as_u64()).sum()
}

#[tokio::test]
async fn a_flag_that_is_refused_is_named_and_its_events_are_those_of_one_failure() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, 3).await;
    poison(&client, "P0001").await;

    let report = api.tick().await.value();

    assert_eq!(
        (&report["applied"], &report["failed_rejected_by_database"]),
        (&2.into(), &1.into()),
        "{report:#}"
    );
    let events = api.events().await;
    let failed = of_type(&events, "flag_schedule.failed");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["flag_key"], "flag-1");
    let message = failed[0]["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("poison P0001"), "the server's own words are missing: {message}");
}
