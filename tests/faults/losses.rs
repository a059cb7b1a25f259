//! Answers and instances lost at the worst moment: what was committed has its event, and whoever did it is told so.

use std::time::Duration;

use harness::api::{Api, create_request, tick_event};
use harness::cloudwatch::{self, CloudWatch};
use harness::database::Database;
use harness::gateway::Response;
use harness::interceptor::{Act, COMMIT, Interceptor, Rule};
use harness::lambda::Outcome;
use serde_json::Value;

use crate::processor::crowd::count;
use crate::processor::held::all_at_rest;
use crate::support::{A_MOMENT, LIMIT, of_type, text, turn_on};

/// A service with a scripted proxy before its database.
pub async fn intercepted() -> (Api, Interceptor, CloudWatch) {
    let database = Database::migrated().await;
    let interceptor = Interceptor::before(&database).await;
    let cloudwatch = CloudWatch::start().await;
    let setup = Api::with().cloudwatch(&cloudwatch).database(database);
    let api = setup.env_everywhere("DATABASE_URL", Some(&interceptor.url())).start().await;
    api.flag("a", "production").await;
    (api, interceptor, cloudwatch)
}

/// Loses the answer to the message that `trace`, of a call like it, has as its last before the events are delivered.
fn lose_change(trace: &[String], statement: &str, label: &str) -> Vec<Rule> {
    let last = trace.iter().rposition(|sent| sent == statement).unwrap_or_else(|| panic!("{trace:?}"));
    let at =
        last + trace[last..].iter().position(|sent| sent == label).unwrap_or_else(|| panic!("{trace:?}"));
    let occurrence = trace[..=at].iter().filter(|sent| *sent == label).count();
    vec![Rule { label: label.to_owned(), occurrence, act: Act::LoseAnswer }]
}

async fn rename_outbox(api: &Api) {
    let client = api.database.connect_as_superuser().await;
    client.batch_execute("alter table audit_outbox rename to audit_outbox_away").await.unwrap();
}

/// Whether the event of a schedule was delivered, or is in the function's log as a whole.
async fn is_told(api: &Api, function: &str, kind: &str, schedule: &str) -> bool {
    let delivered = api.events().await;
    let delivered = of_type(&delivered, kind).iter().any(|event| event["schedule_id"] == schedule);
    let logged = api.function(function).await.logs();
    let logged = logged.iter().any(|line| {
        line.contains("ERROR")
            && line.contains("audit_event")
            && line.contains(kind)
            && line.contains(schedule)
    });
    delivered || logged
}

#[tokio::test]
async fn without_the_outbox_a_create_whose_answer_was_lost_after_the_commit_keeps_its_event() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    rename_outbox(&api).await;
    interceptor.begin(Vec::new());
    assert_eq!(api.create(&api.admin(), "a", "", &turn_on()).await.status, 201);
    interceptor.begin(lose_change(&interceptor.trace(), "create_schedule", "create_schedule"));

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;

    assert_eq!(interceptor.fired().len(), 1, "{:?}", interceptor.trace());
    assert_eq!(created.status, 201, "{created:?}");
    assert!(is_told(&api, "create-schedule", "flag_schedule.created", text(&created.json, "id")).await);
}

#[tokio::test]
async fn without_the_outbox_a_cancel_whose_answer_was_lost_after_the_commit_is_answered_with_200() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let [other, created] = [
        api.create(&api.admin(), "a", "", &turn_on()).await,
        api.create(&api.admin(), "a", "", &turn_on()).await,
    ];
    let id = text(&created.json, "id");
    api.settle().await;
    rename_outbox(&api).await;
    interceptor.begin(Vec::new());
    assert_eq!(api.cancel(&api.admin(), "a", text(&other.json, "id"), "").await.status, 200);
    interceptor.begin(lose_change(&interceptor.trace(), "cancel_schedule", "cancel_schedule"));

    let cancelled = api.cancel(&api.admin(), "a", id, "").await;

    assert_eq!(interceptor.fired().len(), 1, "{:?}", interceptor.trace());
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert!(is_told(&api, "cancel-schedule", "flag_schedule.cancelled", id).await);
}

#[tokio::test]
async fn without_the_outbox_a_tick_whose_commit_was_answered_to_nobody_keeps_its_events() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let [other, created] = [
        api.create(&api.admin(), "a", "", &turn_on()).await,
        api.create(&api.admin(), "a", "", &turn_on()).await,
    ];
    let id = text(&created.json, "id");
    api.make_due(text(&other.json, "id"), A_MOMENT).await;
    api.settle().await;
    rename_outbox(&api).await;
    interceptor.begin(Vec::new());
    assert_eq!(api.tick().await.value()["applied"], 1);
    let trace = interceptor.trace();
    api.make_due(id, A_MOMENT).await;
    interceptor.begin(lose_change(&trace, "record_outcomes", COMMIT));

    let tick = api.tick().await.outcome;

    assert_eq!(interceptor.fired().len(), 1, "{:?}", interceptor.trace());
    assert_eq!(api.flag_state("a", "production").await, (true, 0), "{tick:?}");
    assert!(is_told(&api, "schedule-processor", "flag_schedule.applied", id).await, "{tick:?}");
}

#[tokio::test]
async fn a_create_that_waits_for_its_flag_keeps_its_event_when_the_instance_dies_afterwards() {
    let cloudwatch = CloudWatch::start().await;
    cloudwatch.from_now_on(cloudwatch::Fault::Cut);
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    assert_eq!(api.create(&token, "a", "", &turn_on()).await.status, 201);
    api.settle().await;
    let mut somebody = api.database.connect().await;
    let lock = somebody.transaction().await.unwrap();
    lock.execute("select from feature_flags where flag_key = 'a' for update", &[]).await.unwrap();

    let body = turn_on();
    let letting_go = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        lock.rollback().await.unwrap();
    };
    let (created, ()) = tokio::join!(api.create(&token, "a", "", &body), letting_go);
    let function = api.function("create-schedule").await;
    function.kill();
    function.settled(LIMIT).await;
    cloudwatch.heal();

    let client = api.database.connect_as_superuser().await;
    let schedules = "select count(*) from feature_flag_schedules";
    match created.status {
        201 => {
            client
                .batch_execute("update audit_outbox set written_at = written_at - interval '1 minute'")
                .await
                .unwrap();
            api.tick().await.value();
            let events = api.events().await;
            let id = text(&created.json, "id");
            assert!(events.iter().any(|event| event["schedule_id"] == id), "its event is lost: {events:#?}");
        }
        503 => assert_eq!(count(&client, schedules).await, 1, "503 means that nothing has changed"),
        other => panic!("{other}: {created:?}"),
    }
    let blamed = function.logs().into_iter().find(|line| line.contains("outbox could not be written"));
    assert_eq!(blamed, None, "it was the flag that was locked, not the outbox");
}

#[tokio::test]
async fn a_batch_that_the_server_still_runs_when_its_connection_is_cut_is_never_taken_for_done() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let client = api.database.connect_as_superuser().await;
    let slow = "create function slow() returns trigger language plpgsql as $$
        begin perform pg_sleep(2); return new; end $$;
        create trigger slow before update on feature_flags for each row execute function slow()";
    client.batch_execute(slow).await.unwrap();
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;
    api.settle().await;
    let cut = Rule { label: "record_outcomes".to_owned(), occurrence: 1, act: Act::CutDuring };
    interceptor.begin(vec![cut]);

    let tick = api.tick().await;

    assert_eq!(interceptor.fired().len(), 1, "{:?}", interceptor.trace());
    let due =
        "select count(*) from feature_flag_schedules where status = 'pending' and scheduled_at <= now()";
    if count(&client, due).await > 0 {
        // The repeat may wait for what it left behind, or fail by a name; it may not report that there was nothing to do.
        let error = tick.error();
        assert!(!error.error_type.is_empty() && !error.error_type.starts_with("Runtime."), "{error}");
    }
    // Until the server has noticed, the flag is still locked.
    all_at_rest(&client).await;
    if count(&client, due).await > 0 {
        api.tick().await.value();
    }
    assert_eq!(count(&client, due).await, 0);
    let events = api.events().await;
    assert_eq!(of_type(&events, "flag_schedule.applied").len(), 1, "{events:#?}");
}

#[tokio::test]
async fn a_cancel_whose_connection_is_cut_while_the_server_runs_it_is_answered_with_200() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let id = text(&created.json, "id");
    api.settle().await;
    // The repeat comes while the first attempt still holds the row: its snapshot is older than what it then reads.
    let slow = "create function slow() returns trigger language plpgsql as $$
        begin perform pg_sleep(0.5); return new; end $$;
        create trigger slow before update on feature_flag_schedules for each row execute function slow()";
    api.database.connect_as_superuser().await.batch_execute(slow).await.unwrap();
    let cut = Rule { label: "cancel_schedule".to_owned(), occurrence: 1, act: Act::CutDuring };
    interceptor.begin(vec![cut]);

    let cancelled = api.cancel(&api.admin(), "a", id, "").await;

    assert_eq!(interceptor.fired().len(), 1, "{:?}", interceptor.trace());
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert!(is_told(&api, "cancel-schedule", "flag_schedule.cancelled", id).await);
}

#[tokio::test]
async fn a_slow_cloudwatch_gets_two_or_three_copies_and_not_two_more_with_every_tick() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    api.flag("a", "production").await;
    cloudwatch.slow_down(Duration::from_secs(3));
    let client = api.database.connect_as_superuser().await;

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.settle().await;
    for _ in 0..4 {
        client
            .batch_execute("update audit_outbox set written_at = written_at - interval '1 minute'")
            .await
            .unwrap();
        api.tick().await.value();
    }

    assert_eq!(created.status, 201);
    let copies = cloudwatch.stored().len();
    assert!((1..=3).contains(&copies), "{copies} copies");
    assert_eq!(count(&client, "select count(*) from audit_outbox").await, 0, "events that still wait");
}

#[tokio::test]
async fn ticks_that_overlap_one_whose_commit_is_held_apply_everything_once() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;
    api.settle().await;
    let other = api.another("schedule-processor").await;
    interceptor.begin(vec![Rule { label: COMMIT.to_owned(), occurrence: 1, act: Act::Hold }]);
    let first = api.function("schedule-processor").await;
    let tick = tick_event();

    let meanwhile = async {
        while interceptor.fired().is_empty() {
            tokio::task::yield_now().await;
        }
        let outcome = other.invoke(&tick).await.outcome;
        interceptor.release();
        outcome
    };
    let (held, overlapping) = tokio::join!(first.invoke(&tick), meanwhile);

    assert_eq!(held.value()["applied"], 1);
    // What another tick holds is that tick's: there was nothing to do, or all was locked.
    assert!(!matches!(overlapping, Outcome::TimedOut), "{overlapping:?}");
    let events = api.events().await;
    assert_eq!(of_type(&events, "flag_schedule.applied").len(), 1, "{events:#?}");
}

#[tokio::test]
async fn a_retry_after_a_commit_that_arrived_late_has_one_effect() {
    let (api, interceptor, _cloudwatch) = intercepted().await;
    let (token, body) = (api.admin(), turn_on());
    assert_eq!(api.create(&token, "a", "", &body).await.status, 201);
    api.settle().await;
    let request = create_request("a", "", &body).bearer(&token).header("idempotency-key", "k");
    let held = Rule { label: "create_schedule".to_owned(), occurrence: 1, act: Act::Hold };
    interceptor.begin(vec![held]);

    let given_up: Response = api.send(&request).await;
    interceptor.release();
    let client = api.database.connect_as_superuser().await;
    let retried = api.send(&request).await;
    all_at_rest(&client).await;

    assert_eq!(given_up.status, 503, "{given_up:?}");
    assert!([200, 201].contains(&retried.status), "{retried:?}");
    let of_key = "select count(*) from feature_flag_schedules where idempotency_key = 'k'";
    assert_eq!(count(&client, of_key).await, 1);
    client
        .batch_execute("update audit_outbox set written_at = written_at - interval '1 minute'")
        .await
        .unwrap();
    api.tick().await.value();
    let events: Vec<Value> = api.events().await;
    let of_it = events.iter().filter(|event| event["schedule_id"] == retried.json["id"]).count();
    assert_eq!(of_it, 1, "{events:#?}");
}
