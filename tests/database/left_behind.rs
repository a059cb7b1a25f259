//! What calls leave behind that were killed, cut or given up: no transaction, no lock, no connection too many.

use std::time::{Duration, Instant};

use harness::api::{Api, tick_event};
use harness::cloudwatch::CloudWatch;
use harness::database::Database;
use harness::postgres::SERVICE_ROLE;
use tokio_postgres::Client;

use super::assert_nothing_left_behind;
use crate::processor::crowd::{count, fill};
use crate::processor::held::Held;
use crate::support::{LIMIT, text, turn_on};

/// The functions that these tests use, with one connection each.
const FUNCTIONS: usize = 3;
/// Connections of the service that wait for a lock.
const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database()
    and application_name = 'flag-schedules' and wait_event_type = 'Lock'";

/// Waits for a count that fits.
async fn until(client: &Client, sql: &str, fits: impl Fn(i64) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = count(client, sql).await;
        if fits(found) {
            return;
        }
        assert!(Instant::now() < deadline, "still {found}: {sql}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_mix_of_killed_and_given_up_calls_leaves_no_transaction_and_no_lock_behind() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let pending = api.create(&token, "a", "", &turn_on()).await;
    api.settle().await;
    let client = api.database.connect().await;
    fill(&client, 4, 5).await;
    let mut somebody = api.database.connect().await;
    let transaction = somebody.transaction().await.unwrap();
    transaction.batch_execute("select from feature_flags where flag_key = 'a' for update").await.unwrap();
    let cancelled = "select from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
        where f.flag_key = 'a' for update of s";
    transaction.batch_execute(cancelled).await.unwrap();
    let held = Held::after(&api.database, 7).await;
    let body = turn_on();

    // A create that waits until its time is up; a cancel and a tick that are killed while they wait.
    let killing = async {
        held.up().await;
        until(&client, WAITING, |waiting| waiting >= 3).await;
        api.function("schedule-processor").await.kill();
        api.function("cancel-schedule").await.kill();
    };
    let event = harness::api::cancel_request("a", text(&pending.json, "id"), "").bearer(&token).event();
    let tick = tick_event();
    let (cancel, processor) =
        (api.function("cancel-schedule").await, api.function("schedule-processor").await);
    let (created, _, _, ()) = tokio::join!(
        api.create(&token, "a", "", &body),
        cancel.invoke(&event),
        processor.invoke(&tick),
        killing
    );
    held.release().await;
    // What was killed still waits on the server, until its time is up.
    until(&client, WAITING, |waiting| waiting == 0).await;
    transaction.rollback().await.unwrap();

    assert_eq!(created.status, 503, "{created:?}");
    assert_nothing_left_behind(&api).await;
    let report = api.tick().await.value();
    assert_eq!(report["applied"], 20, "{report:#}");
    let cancelled = api.cancel(&token, "a", text(&pending.json, "id"), "").await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let created = api.create(&token, "a", "", &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_nothing_left_behind(&api).await;
    let locks = "select count(*) from pg_locks l join pg_stat_activity a using (pid)
        where a.datname = current_database() and a.application_name = 'flag-schedules'";
    assert_eq!(count(&client, locks).await, 0, "locks of connections at rest");
    let connections = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'flag-schedules'";
    let connections = count(&client, connections).await;
    assert!(usize::try_from(connections).unwrap() <= FUNCTIONS, "{connections} connections");
}

#[tokio::test]
async fn a_delivery_that_cannot_delete_its_event_in_time_gives_up_on_the_server_too() {
    let cloudwatch = CloudWatch::start().await;
    let database = Database::migrated().await;
    let mut somebody = database.connect_as_superuser().await;
    for limit in ["lock_timeout", "statement_timeout"] {
        let none = format!("alter role {SERVICE_ROLE} in database {} set {limit} = 0", database.name());
        somebody.batch_execute(&none).await.unwrap();
    }
    let api = Api::with().cloudwatch(&cloudwatch).database(database).start().await;
    api.flag("a", "production").await;
    // The outbox is locked while the event is being sent, for longer than a delivery may take.
    cloudwatch.slow_down(Duration::from_millis(500));

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let lock = somebody.transaction().await.unwrap();
    lock.batch_execute("lock table audit_outbox in exclusive mode").await.unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    until(&api.database.connect().await, WAITING, |waiting| waiting >= 1).await;
    assert_nothing_left_behind(&api).await;

    lock.rollback().await.unwrap();
    let kept = "select count(*) from audit_outbox";
    assert_eq!(count(&api.database.connect_as_superuser().await, kept).await, 1);
}
