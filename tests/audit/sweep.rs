//! The sweep: several at once, killed ones, large backlogs, and rows that become visible late.

use std::time::Duration;

use harness::api::{Setup, tick_event};
use harness::cloudwatch::{Call, Fault, Outcome as Called};
use harness::lambda::{Function, Launch};
use harness::postgres::SERVICE_ROLE;
use serde_json::json;

use super::trail::{
    self, age_outbox, assert_exact, copies, create, ids, multiply, no_transaction_is_open, sweep, waiting,
};
use crate::support::{A_MOMENT, LIMIT, text};

/// A processor run in another way than usual.
fn ticks_of(setup: Setup, change: fn(Launch) -> Launch) -> Setup {
    setup.launch("schedule-processor", change)
}

/// A tick on another processor than the usual one.
async fn tick(processor: &Function) -> u64 {
    let report = processor.invoke(&tick_event()).await.value();
    report["audit_delivered"].as_u64().unwrap_or_else(|| panic!("no report: {report}"))
}

#[tokio::test]
async fn two_sweeps_and_a_flush_at_once_share_the_work_without_a_deadlock() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(&api).await;
    api.settle().await;
    cloudwatch.heal();
    multiply(&api, 2_999).await;
    age_outbox(&api).await;
    let (one, other) = (api.another("schedule-processor").await, api.another("schedule-processor").await);

    let creates = async {
        for _ in 0..20 {
            create(&api).await;
        }
    };
    let (one, other, ()) = tokio::join!(tick(&one), tick(&other), creates);

    assert_eq!(one + other, 3_000);
    let events = assert_exact(&cloudwatch, &api).await;
    let copies = copies(&events);
    assert_eq!(copies.len(), 3_020);
    assert!(copies.into_values().all(|copies| copies == 1), "no lock was lost, so no event was sent twice");
    assert!(waiting(&api).await.is_empty());
}

#[tokio::test]
async fn the_rows_of_a_killed_sweep_are_held_as_long_as_it_lives_and_free_at_once() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(&api).await;
    api.settle().await;
    multiply(&api, 99).await;
    age_outbox(&api).await;
    let other = api.another("schedule-processor").await;
    cloudwatch.heal();
    cloudwatch.next(1, Fault::Silence);
    let held = |calls: &[Call]| calls.last().is_some_and(|call| call.outcome == Called::Open);

    let kill = async {
        cloudwatch.wait_for_puts(held).await;
        assert_eq!(tick(&other).await, 0, "nobody else sends them now");
        api.function("schedule-processor").await.kill();
    };
    let (killed, ()) = tokio::join!(api.tick(), kill);
    cloudwatch.heal();
    no_transaction_is_open(&api).await;
    let delivered = tick(&other).await;

    assert_eq!(killed.error().error_type, "Runtime.ExitError");
    assert_eq!(delivered, 100);
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 100);
}

#[tokio::test]
async fn a_backlog_of_a_hundred_thousand_drains_in_few_ticks_while_schedules_are_applied() {
    // Hardly enough for all of it.
    let short = |launch: Launch| launch.timeout(Duration::from_secs(6));
    let (cloudwatch, api) = trail::start_with(|setup| ticks_of(setup, short)).await;
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(&api).await;
    api.settle().await;
    cloudwatch.heal();
    multiply(&api, 99_999).await;
    age_outbox(&api).await;

    let mut ticks = 0;
    loop {
        ticks += 1;
        let due = create(&api).await;
        api.make_due(text(&due.json, "id"), A_MOMENT).await;
        let report = api.tick().await.value();
        assert_eq!(report["applied"], 1, "tick {ticks}: {report:#}");
        assert_eq!(report["still_due"], 0, "tick {ticks}: {report:#}");
        if report["audit_backlog"] == 0 {
            break;
        }
        assert!(ticks < 10, "{report:#}");
    }

    let copies = copies(&assert_exact(&cloudwatch, &api).await);
    assert_eq!(copies.len(), 100_000 + 2 * ticks);
    assert!(copies.into_values().all(|copies| copies == 1));
}

#[tokio::test]
async fn a_tick_that_runs_out_of_time_cuts_no_call_short() {
    let short = |launch: Launch| launch.timeout(Duration::from_secs(4));
    let (cloudwatch, api) = trail::start_with(|setup| ticks_of(setup, short)).await;
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(&api).await;
    api.settle().await;
    multiply(&api, 9_999).await;
    age_outbox(&api).await;
    cloudwatch.heal();
    cloudwatch.slow_down(Duration::from_millis(400));

    let report = api.tick().await.value();

    assert_ne!(report["audit_backlog"], 0, "the backlog is too small for this test: {report:#}");
    cloudwatch.heal();
    sweep(&api).await;
    let copies = copies(&assert_exact(&cloudwatch, &api).await);
    assert!(copies.into_values().all(|copies| copies == 1), "a call that was cut short was made again");
}

#[tokio::test]
async fn a_row_with_a_lower_id_that_is_committed_later_is_delivered_all_the_same() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(&api).await;
    create(&api).await;
    api.settle().await;
    cloudwatch.heal();
    age_outbox(&api).await;
    let in_order = waiting(&api).await;
    assert!(in_order[0] < in_order[1]);
    // The earlier event, as if its transaction were still open: written before, with a lower id, and not to be seen.
    let mut client = api.database.connect().await;
    client
        .batch_execute("create table late as select * from audit_outbox order by written_at limit 1")
        .await
        .unwrap();
    client
        .batch_execute("delete from audit_outbox where event_id in (select event_id from late)")
        .await
        .unwrap();
    let late = client.transaction().await.unwrap();
    late.batch_execute("insert into audit_outbox select * from late").await.unwrap();

    let before = api.tick().await.value();
    late.commit().await.unwrap();
    let after = api.tick().await.value();

    assert_eq!((&before["audit_delivered"], &after["audit_delivered"]), (&json!(1), &json!(1)));
    assert_eq!(ids(&assert_exact(&cloudwatch, &api).await), [in_order[1], in_order[0]]);
}

#[tokio::test]
async fn a_slow_cloudwatch_and_a_poison_event_do_not_make_the_sweep_forget_what_it_has_sent() {
    let (cloudwatch, api) = trail::start_with(|setup| ticks_of(setup, |launch| launch.timeout(LIMIT))).await;
    // As in operation, but less patient, so that this test need not last longer than ten seconds to notice.
    let (database, client) = (api.database.name(), api.database.connect_as_superuser().await);
    let sql = format!(
        "alter role {SERVICE_ROLE} in database {database} set idle_in_transaction_session_timeout = '6s'"
    );
    client.batch_execute(&sql).await.unwrap();
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(&api).await;
    api.settle().await;
    multiply(&api, 15).await;
    trail::alter(&api, waiting(&api).await[5], &json!({ "reason": "poison" })).await;
    cloudwatch.heal();
    cloudwatch.from_now_on(Fault::Poison("poison"));
    cloudwatch.slow_down(Duration::from_millis(750));

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 15, "{report:#}");
    assert_eq!(report["audit_dead"], 1, "{report:#}");
    let copies = copies(&assert_exact(&cloudwatch, &api).await);
    assert!(copies.into_values().all(|copies| copies == 1));
}
