//! Real deadlocks: somebody takes the service's locks in the wrong order. The server ends the service's statement, and
//! the service solves it by itself: no 500, and no change of anybody is lost.

use std::time::Instant;

use harness::api::{Api, create_request};
use serde_json::json;

use crate::processor::crowd::count;
use crate::support::{A_MOMENT, LIMIT, of_type, text, turn_on};

/// Somebody who takes a lock with `first` and, once `call` waits for it, asks with `second` for one that `call` holds.
/// They are patient, so it is the service that the server's deadlock detector ends.
async fn crossed<T>(api: &Api, first: &str, second: &str, call: impl Future<Output = T>) -> T {
    let mut somebody = api.database.connect_as_superuser().await;
    somebody.batch_execute("set deadlock_timeout = '1min'").await.unwrap();
    let transaction = somebody.transaction().await.unwrap();
    transaction.batch_execute(first).await.unwrap();
    let client = api.database.connect_as_superuser().await;
    let crossing = async {
        let waits = "select count(*) from pg_stat_activity where datname = current_database()
            and application_name = 'flag-schedules' and wait_event_type = 'Lock'";
        let deadline = Instant::now() + LIMIT;
        while count(&client, waits).await == 0 {
            assert!(Instant::now() < deadline, "the service does not wait for {first}");
            tokio::task::yield_now().await;
        }
        transaction.batch_execute(second).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let (result, ()) = tokio::join!(call, crossing);

    api.settle().await;
    // A connection tells the statistics at its end, if not before.
    api.database.terminate_connections().await;
    let client = api.database.connect().await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    let deadline = Instant::now() + LIMIT;
    while count(&client, deadlocks).await == 0 {
        assert!(Instant::now() < deadline, "it came to no deadlock");
        tokio::task::yield_now().await;
    }
    result
}

#[tokio::test]
async fn a_create_in_a_deadlock_is_repeated_and_succeeds() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let (token, body) = (api.admin(), turn_on());

    let created = crossed(
        &api,
        "select from feature_flags for update",
        "lock table audit_outbox in share mode; update feature_flags set description = 'mine'",
        api.create(&token, "a", "", &body),
    )
    .await;

    assert_eq!(created.status, 201, "{created:?}");
    let client = api.database.connect().await;
    assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, 1);
    assert_eq!(count(&client, "select count(*) from feature_flags where description = 'mine'").await, 1);
    assert_eq!(api.events().await.len(), 1);
}

#[tokio::test]
async fn a_cancel_in_a_deadlock_is_repeated_and_succeeds() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let created = api.create(&token, "a", "", &turn_on()).await;
    api.settle().await;

    let cancelled = crossed(
        &api,
        "select from feature_flag_schedules for update",
        "lock table audit_outbox in share mode; update feature_flag_schedules set reason = 'mine'",
        api.cancel(&token, "a", text(&created.json, "id"), ""),
    )
    .await;

    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!((&cancelled.json["status"], &cancelled.json["reason"]), (&json!("cancelled"), &json!("mine")));
    assert_eq!(of_type(&api.events().await, "flag_schedule.cancelled").len(), 1);
}

#[tokio::test]
async fn a_tick_waits_for_no_lock_and_so_comes_to_no_deadlock() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;

    let mut somebody = api.database.connect().await;
    let transaction = somebody.transaction().await.unwrap();
    transaction.batch_execute("select from feature_flag_schedules for update").await.unwrap();

    // The service locks the flag first, then the schedule; but it waits for neither.
    let tick = api.tick().await;
    transaction.batch_execute("update feature_flags set description = 'mine'").await.unwrap();
    transaction.commit().await.unwrap();
    let next = api.tick().await.value();

    assert_eq!(tick.error().error_type, "AllLocked");
    assert_eq!(next["applied"], 1, "{next:#}");
    assert_eq!(api.flag_state("a", "production").await, (true, 0));
    let client = api.database.connect().await;
    assert_eq!(count(&client, "select count(*) from feature_flags where description = 'mine'").await, 1);
    assert_eq!(of_type(&api.events().await, "flag_schedule.applied").len(), 1);
}

#[tokio::test]
async fn a_create_and_a_cancel_and_a_tick_that_wait_for_one_crossing_all_succeed() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let due = api.create(&token, "a", "", &turn_on()).await;
    let pending = api.create(&token, "a", "", &turn_on()).await;
    api.make_due(text(&due.json, "id"), A_MOMENT).await;
    let body = turn_on();

    let all = async {
        tokio::join!(
            api.tick(),
            api.cancel(&token, "a", text(&pending.json, "id"), ""),
            api.create(&token, "a", "", &body)
        )
    };
    let (report, cancelled, created) = crossed(
        &api,
        "select from feature_flag_schedules for update",
        "update feature_flags set description = 'mine'; lock table audit_outbox in share mode",
        all,
    )
    .await;
    let next = api.tick().await.value();

    assert_eq!((cancelled.status, created.status), (200, 201), "{cancelled:?}, {created:?}");
    let report = report.value();
    let applied = [&report, &next].map(|report| report["applied"].as_u64().unwrap());
    assert_eq!(applied.iter().sum::<u64>(), 1, "{report:#}, then {next:#}");
    let events = api.events().await;
    let of = |event_type| of_type(&events, event_type).len();
    let ends = (of("flag_schedule.created"), of("flag_schedule.cancelled"), of("flag_schedule.applied"));
    assert_eq!(ends, (3, 1, 1), "{events:#?}");
}

#[tokio::test]
async fn deadlock_upon_deadlock_is_a_503_that_has_changed_nothing() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    // What the server says to the victim of a deadlock, every time.
    let always = "create function deadlock() returns trigger language plpgsql as $$
        begin raise exception 'deadlock detected' using errcode = '40P01'; end $$;
        create trigger deadlock before insert on feature_flag_schedules
            for each row execute function deadlock()";
    let client = api.database.connect().await;
    client.batch_execute(always).await.unwrap();
    let body = turn_on();
    let request = create_request("a", "", &body).bearer(&api.admin()).header("idempotency-key", "k");

    let refused = api.send(&request).await;
    client.batch_execute("drop trigger deadlock on feature_flag_schedules").await.unwrap();
    let retried = api.send(&request).await;

    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(retried.status, 201, "{retried:?}");
    assert_eq!(api.events().await.len(), 1);
}
