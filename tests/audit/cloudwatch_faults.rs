//! CloudWatch Logs out of order: callers do not notice, no event is lost, and a later tick delivers in order.

use std::time::{Duration, Instant};

use harness::api::{AUDITING, Setup};
use harness::cloudwatch::{Fault, Outcome};
use harness::lambda::End;
use harness::logs::LogGroup;
use harness::postgres::SERVICE_ROLE;
use serde_json::json;

use super::trail::{self, FLAG, assert_exact, copies, create, end, ids, run, sweep, waiting};
use crate::support::{A_MOMENT, text};

/// As long as the fault lasts, changes are made, every invocation comes to rest within its time, and nothing is
/// delivered or given up; afterwards, everything is delivered once and in order.
async fn is_outlived(fault: Fault) {
    let short = |setup: Setup| {
        let setup = setup.launch("create-schedule", |launch| launch.timeout(Duration::from_secs(5)));
        setup.launch("cancel-schedule", |launch| launch.timeout(Duration::from_secs(5)))
    };
    let (cloudwatch, api) = trail::start_with(short).await;
    cloudwatch.from_now_on(fault);

    let first = create(&api).await;
    assert_eq!(end(&api, "create-schedule").await, End::Idle);
    let second = create(&api).await;
    assert_eq!(end(&api, "create-schedule").await, End::Idle);
    let cancelled = api.cancel(&api.admin(), FLAG, text(&first.json, "id"), "").await;
    assert_eq!(end(&api, "cancel-schedule").await, End::Idle);
    api.make_due(text(&second.json, "id"), A_MOMENT).await;
    let report = sweep(&api).await;

    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(report["audit_delivered"], 0, "{report:#}");
    assert_eq!(report["audit_backlog"], 4, "{report:#}");
    assert_eq!(report["audit_dead"], 0, "{report:#}");
    assert!(cloudwatch.stored().is_empty());
    let in_order = waiting(&api).await;
    assert_eq!(in_order.len(), 4);

    cloudwatch.heal();
    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 4, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    assert_eq!(ids(&assert_exact(&cloudwatch, &api).await), in_order, "each once, in order");
}

#[tokio::test]
async fn connections_that_are_cut_are_outlived() {
    is_outlived(Fault::Cut).await;
}

#[tokio::test]
async fn answers_that_never_come_are_outlived() {
    is_outlived(Fault::Silence).await;
}

#[tokio::test]
async fn throttling_is_outlived() {
    is_outlived(Fault::THROTTLE).await;
}

#[tokio::test]
async fn internal_failures_are_outlived() {
    is_outlived(Fault::INTERNAL).await;
}

#[tokio::test]
async fn unavailability_is_outlived() {
    is_outlived(Fault::UNAVAILABLE).await;
}

#[tokio::test]
async fn denied_access_is_outlived() {
    is_outlived(Fault::DENY).await;
}

#[tokio::test]
async fn expired_credentials_are_outlived() {
    is_outlived(Fault::EXPIRE).await;
}

#[tokio::test]
async fn answers_that_are_not_json_are_outlived() {
    is_outlived(Fault::Garbage(200, "<html><h1>Welcome to the Wi-Fi</h1></html>")).await;
}

#[tokio::test]
async fn a_proxys_own_error_page_is_outlived() {
    is_outlived(Fault::Garbage(403, "<html><h1>Forbidden</h1></html>")).await;
}

#[tokio::test]
async fn a_create_is_answered_while_its_delivery_is_still_without_an_answer() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::Silence);

    create(&api).await;
    let answered = Instant::now();

    api.settle().await;
    let puts = cloudwatch.puts();
    let last = puts.last().expect("the delivery was tried");
    assert!(last.ended > Some(answered), "the delivery was given up before the caller had its answer");
    assert_eq!(last.outcome, Outcome::Abandoned);
}

#[tokio::test]
async fn one_throttled_call_is_repeated_within_the_same_delivery() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.next(1, Fault::THROTTLE);

    create(&api).await;

    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 1);
    assert!(waiting(&api).await.is_empty());
}

/// After `lost` lost answers, the event is there once more than answers were lost, and no copy is added.
async fn is_repeated_until_an_answer_comes(fault: Fault, lost: usize) {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.next(lost, fault);

    create(&api).await;
    for _ in 0..2 {
        sweep(&api).await;
    }

    let events = assert_exact(&cloudwatch, &api).await;
    assert_eq!(copies(&events).into_values().collect::<Vec<_>>(), [lost + 1], "{events:#?}");
    assert!(waiting(&api).await.is_empty());
}

#[tokio::test]
async fn a_stored_event_whose_answer_is_lost_is_sent_again_with_its_id_and_there_is_no_third_copy() {
    is_repeated_until_an_answer_comes(Fault::StoreThenCut, 1).await;
}

#[tokio::test]
async fn a_stored_event_that_is_never_answered_is_sent_again_with_its_id_and_there_is_no_third_copy() {
    is_repeated_until_an_answer_comes(Fault::StoreThenSilence, 1).await;
}

#[tokio::test]
async fn answers_lost_in_the_delivery_and_in_the_sweep_add_one_copy_each() {
    is_repeated_until_an_answer_comes(Fault::StoreThenCut, 2).await;
}

/// Whatever becomes of a call that may have been stored, an invocation makes one call and not another.
#[tokio::test]
async fn what_may_be_stored_is_not_sent_again_in_the_same_invocation() {
    for fault in [
        Fault::StoreThenCut,
        Fault::StoreThenSilence,
        Fault::Cut,
        Fault::Garbage(200, "<html>"),
        Fault::Garbage(504, "<html>"),
        Fault::Garbage(302, ""),
    ] {
        let (cloudwatch, api) = trail::start().await;
        cloudwatch.from_now_on(fault);
        create(&api).await;
        api.settle().await;
        assert_eq!(cloudwatch.puts().len(), 1, "{fault:?}");
        // More than one hold, and events of the tick's own.
        trail::multiply(&api, 1_500).await;
        run(
            &api,
            "update feature_flag_schedules set scheduled_at = now() - interval '1 second' where id in
            (select id from feature_flag_schedules limit 3)",
        )
        .await;

        let report = sweep(&api).await;

        assert_eq!(report["applied"], 3, "{fault:?}: {report:#}");
        assert_eq!(cloudwatch.puts().len(), 2, "{fault:?}: one call, for a part of the events");
        cloudwatch.heal();
        let report = sweep(&api).await;
        assert_eq!(report["audit_backlog"], 0, "{fault:?}: {report:#}");
        let copies = copies(&assert_exact(&cloudwatch, &api).await);
        assert!(copies.into_values().all(|copies| copies <= 3), "{fault:?}: at most one for each invocation");
    }
}

/// A CloudWatch that stores at once and answers late: the delivery after a response adds a copy, and no tick does.
async fn gets_few_copies(delay: Duration) {
    // As deployed, less patient about idle transactions so that this shows sooner.
    let (cloudwatch, api) = trail::start_with(|setup| {
        setup.launch("schedule-processor", |launch| launch.timeout(Duration::from_secs(40)))
    })
    .await;
    let (database, client) = (api.database.name(), api.database.connect_as_superuser().await);
    let sql = format!(
        "alter role {SERVICE_ROLE} in database {database} set idle_in_transaction_session_timeout = '4s'"
    );
    client.batch_execute(&sql).await.unwrap();
    cloudwatch.slow_down(delay);
    let created = create(&api).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;
    api.settle().await;
    assert_eq!(waiting(&api).await.len(), 1);

    let first = sweep(&api).await;
    let calls = cloudwatch.puts().len();
    let second = sweep(&api).await;

    assert_eq!((&first["audit_delivered"], &first["audit_backlog"]), (&json!(2), &json!(0)), "{first:#}");
    assert_eq!((&second["audit_delivered"], cloudwatch.puts().len()), (&json!(0), calls), "{second:#}");
    let copies = copies(&assert_exact(&cloudwatch, &api).await);
    assert!(copies.values().all(|copies| *copies <= 2), "{copies:?}");
}

#[tokio::test]
async fn a_cloudwatch_that_answers_after_three_seconds_gets_few_copies() {
    gets_few_copies(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn a_cloudwatch_that_answers_after_ten_seconds_gets_few_copies() {
    gets_few_copies(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_slow_cloudwatch_is_given_the_time_that_the_sweep_has() {
    let (cloudwatch, api) = trail::start().await;
    // More than a delivery after a response has; the events are stored each time.
    cloudwatch.slow_down(Duration::from_millis(1900));
    create(&api).await;
    api.settle().await;
    let sent_by_the_flush = cloudwatch.puts().len();
    assert_eq!(waiting(&api).await.len(), 1);

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 1, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    assert_eq!(sent_by_the_flush, 1);
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 2);
}

#[tokio::test]
async fn a_missing_group_kills_no_event() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.delete_group(api.group.name());

    create(&api).await;
    let report = sweep(&api).await;
    assert_eq!(report["audit_backlog"], 1, "{report:#}");
    assert_eq!(report["audit_dead"], 0, "{report:#}");

    LogGroup::create(api.group.logs().clone(), api.group.name(), &AUDITING).await.unwrap();
    sweep(&api).await;

    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 1);
}

#[tokio::test]
async fn a_missing_stream_is_created_once_where_that_is_allowed() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.delete_stream(api.group.name(), "create-schedule");
    let before = cloudwatch.calls_of("CreateLogStream").len();

    create(&api).await;
    create(&api).await;

    let events = assert_exact(&cloudwatch, &api).await;
    assert_eq!(events.len(), 2, "both arrived with their own deliveries");
    assert_eq!(cloudwatch.calls_of("CreateLogStream").len(), before + 1);
}

#[tokio::test]
async fn a_missing_stream_that_may_not_be_created_is_not_tried_again_and_kills_no_event() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.delete_stream(api.group.name(), "create-schedule");
    cloudwatch.deny("CreateLogStream");
    let before = cloudwatch.calls_of("CreateLogStream").len();

    for _ in 0..3 {
        create(&api).await;
    }
    api.settle().await;

    assert_eq!(cloudwatch.calls_of("CreateLogStream").len(), before + 1);
    assert_eq!(waiting(&api).await.len(), 3);
    assert_eq!(trail::dead(&api).await, []);

    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 3, "the processor has a stream of its own: {report:#}");
    assert_exact(&cloudwatch, &api).await;
}
