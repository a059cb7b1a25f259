//! The life of an execution environment: killed, ended, frozen, and badly used, in the worst moments for the trail.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::Reply;
use flag_schedules::lambda;
use flag_schedules::service::Created;
use harness::api::{Api, Setup, create_request, tick_event};
use harness::cloudwatch::{Call, CloudWatch, Fault, Outcome as Called};
use harness::lambda::{End, Outcome};
use serde_json::{Value, json};

use super::trail::{
    self, FLAG, assert_exact, copies, create, end, ids, no_transaction_is_open, sweep, waiting,
};
use crate::support::{A_MOMENT, LIMIT, text, turn_on};

/// A call that has arrived and has no answer.
fn held(calls: &[Call]) -> bool {
    calls.last().is_some_and(|call| call.outcome == Called::Open)
}

/// A function whose invocations may take so long that a wait for their end would fail every test.
fn patient(setup: Setup) -> Setup {
    setup.launch("create-schedule", |launch| launch.timeout(LIMIT * 20))
}

/// A service whose first create has been answered, and whose event CloudWatch Logs has not answered yet.
async fn in_delivery() -> (CloudWatch, Api) {
    let (cloudwatch, api) = trail::start_with(patient).await;
    cloudwatch.slow_down(std::time::Duration::from_millis(500));
    create(&api).await;
    cloudwatch.wait_for_puts(held).await;
    (cloudwatch, api)
}

/// A create is as good as ever: its event arrives with its own delivery, without a sweep.
async fn the_next_create_is_normal(cloudwatch: &CloudWatch, api: &Api) {
    let created = create(api).await;

    assert_eq!(end(api, "create-schedule").await, End::Idle);
    let events = assert_exact(cloudwatch, api).await;
    assert_eq!(events.last().map(|event| &event["schedule_id"]), Some(&created.json["id"]));
    assert!(waiting(api).await.is_empty());
}

#[tokio::test]
async fn a_kill_between_commit_and_delivery_leaves_the_event_to_the_sweep() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::Silence);

    create(&api).await;
    cloudwatch.wait_for_puts(held).await;
    api.function("create-schedule").await.kill();
    cloudwatch.heal();
    no_transaction_is_open(&api).await;
    let report = sweep(&api).await;

    assert_eq!(report["audit_delivered"], 1, "{report:#}");
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 1);
    the_next_create_is_normal(&cloudwatch, &api).await;
}

#[tokio::test]
async fn a_kill_after_delivery_before_the_row_is_deleted_makes_one_copy_with_the_same_id() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::StoreThenSilence);

    create(&api).await;
    cloudwatch.wait_for_puts(held).await;
    api.function("create-schedule").await.kill();
    cloudwatch.heal();
    no_transaction_is_open(&api).await;
    for _ in 0..2 {
        sweep(&api).await;
    }

    let events = assert_exact(&cloudwatch, &api).await;
    assert_eq!(copies(&events).into_values().collect::<Vec<_>>(), [2], "{events:#?}");
}

#[tokio::test]
async fn a_processor_killed_between_commit_and_delivery_has_applied_once_and_the_next_one_tells() {
    let (cloudwatch, api) = trail::start().await;
    let created = create(&api).await;
    api.make_due(text(&created.json, "id"), A_MOMENT).await;
    api.settle().await;
    cloudwatch.from_now_on(Fault::Silence);

    let kill = async {
        cloudwatch.wait_for_puts(held).await;
        api.function("schedule-processor").await.kill();
    };
    let (killed, ()) = tokio::join!(api.tick(), kill);
    cloudwatch.heal();
    no_transaction_is_open(&api).await;
    let report = sweep(&api).await;

    assert_eq!(killed.error().error_type, "Runtime.ExitError");
    assert_eq!(report["applied"], 0, "{report:#}");
    assert_eq!(report["audit_delivered"], 1, "{report:#}");
    assert_eq!(api.flag_state(FLAG, "production").await, (true, 0));
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 2);
}

#[tokio::test]
async fn sigterm_with_undelivered_events_is_a_clean_exit_and_the_rows_stay() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::DENY);
    create(&api).await;
    create(&api).await;

    let exit = api.function("create-schedule").await.stop().await;

    assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
    assert_eq!(waiting(&api).await.len(), 2);
    cloudwatch.heal();
    sweep(&api).await;
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 2);
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_delivery_ends_the_process_and_the_row_stays() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::Silence);
    create(&api).await;
    cloudwatch.wait_for_puts(held).await;

    let function = api.function("create-schedule").await;
    let pid = function.pid().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()));
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM).unwrap();

    assert_eq!(end(&api, "create-schedule").await, End::Exited);
    cloudwatch.heal();
    no_transaction_is_open(&api).await;
    sweep(&api).await;
    assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 1);
}

#[tokio::test]
async fn each_of_several_creates_on_one_environment_is_delivered_before_it_freezes_again() {
    let (cloudwatch, api) = trail::start_with(patient).await;
    let pid = api.function("create-schedule").await.pid();

    for _ in 0..5 {
        the_next_create_is_normal(&cloudwatch, &api).await;
    }

    assert_eq!(api.function("create-schedule").await.pid(), pid);
    assert_eq!(cloudwatch.puts().len(), 5);
}

#[tokio::test]
async fn connections_that_ended_while_the_environment_was_frozen_do_not_keep_an_event() {
    let (cloudwatch, api) = trail::start_with(patient).await;
    for _ in 0..3 {
        the_next_create_is_normal(&cloudwatch, &api).await;
        cloudwatch.cut_connections();
        api.database.terminate_connections().await;
    }
}

#[tokio::test]
async fn after_events_that_are_no_requests_the_environment_is_at_rest_at_once_and_the_next_create_is_normal()
{
    let (cloudwatch, api) = trail::start_with(patient).await;
    let function = api.function("create-schedule").await;

    for event in
        ["{ not JSON", "", "\u{1}", "null", "[1, 2]", r#""text""#, r#"{"version": "2.0", "headers": 7}"#]
    {
        let invocation = function.invoke_bytes(event).await;
        assert!(!matches!(invocation.outcome, Outcome::TimedOut), "{event:?}: {invocation:?}");
        assert_eq!(end(&api, "create-schedule").await, End::Idle, "{event:?}");
        the_next_create_is_normal(&cloudwatch, &api).await;
    }
}

#[tokio::test]
async fn after_a_failed_request_the_environment_is_at_rest_at_once_and_the_next_create_is_normal() {
    let (cloudwatch, api) = trail::start_with(patient).await;
    the_next_create_is_normal(&cloudwatch, &api).await;

    trail::run(&api, "alter table feature_flag_schedules rename to elsewhere").await;
    let failed = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    assert_eq!(failed.status, 500, "{failed:?}");
    assert_eq!(end(&api, "create-schedule").await, End::Idle);
    trail::run(&api, "alter table elsewhere rename to feature_flag_schedules").await;

    the_next_create_is_normal(&cloudwatch, &api).await;
}

/// The service whose `create-schedule` is [`stumbling_function`].
async fn start_stumbling() -> (CloudWatch, Api) {
    let stumbling = |setup: Setup| {
        setup.launch("create-schedule", |launch| {
            let args = ["--exact", "audit::lifecycle::stumbling_function", "--ignored", "--nocapture"];
            launch.program(std::env::current_exe().unwrap(), &args).timeout(LIMIT * 20)
        })
    };
    trail::start_with(stumbling).await
}

/// Not a test of its own: what ships does not panic when asked to, so the tests below run this program once more as a
/// function. It is served as those that ship are; its handler stores the schedule and then does what the reason says.
#[tokio::test]
#[ignore = "run as a function by other tests"]
async fn stumbling_function() {
    if flag_schedules::config::environment("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    lambda::serve(|| App::start("create-schedule"), stumble).await.unwrap();
}

async fn stumble(app: &App, request: &Request) -> Result<Reply, Problem> {
    let caller = app.authenticate(request).await?;
    let schedule = request.new_schedule(app.now())?;
    let Created::New(created) = app.schedules.create(&caller, &schedule).await? else {
        return Err(Problem::Bug("there is no idempotency key in these tests".to_owned()));
    };
    match schedule.reason.as_deref() {
        Some("panic") => panic!("as the test wants it"),
        Some("error") => Err(Problem::Bug("as the test wants it".to_owned())),
        _ => Ok(Reply::created(created)?),
    }
}

/// A create that is stored and then goes wrong in the handler: its event is delivered all the same, at once, and the
/// next request is as good as ever.
async fn stumbling_costs_nothing(how: &str) {
    let (cloudwatch, api) = start_stumbling().await;
    let mut body = turn_on();
    body["reason"] = json!(how);
    let request = create_request(FLAG, "", &body).bearer(&api.admin());

    for round in 1..=2 {
        let failed = api.send(&request).await;

        assert!(failed.status >= 500, "{failed:?}");
        assert_eq!(end(&api, "create-schedule").await, End::Idle);
        assert_eq!(assert_exact(&cloudwatch, &api).await.len(), 2 * round - 1, "delivered at once");
        the_next_create_is_normal(&cloudwatch, &api).await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_after_its_commit_costs_neither_its_event_nor_the_next_request() {
    stumbling_costs_nothing("panic").await;
}

#[tokio::test]
async fn a_handler_that_fails_after_its_commit_costs_neither_its_event_nor_the_next_request() {
    stumbling_costs_nothing("error").await;
}

#[tokio::test]
async fn a_database_connection_that_ends_during_a_delivery_makes_no_copy_and_the_next_create_is_normal() {
    let (cloudwatch, api) = in_delivery().await;
    api.database.terminate_connections().await;

    assert_eq!(end(&api, "create-schedule").await, End::Idle);
    cloudwatch.heal();
    assert_eq!(waiting(&api).await.len(), 0);
    let events = assert_exact(&cloudwatch, &api).await;
    assert_eq!(copies(&events).into_values().collect::<Vec<_>>(), [1], "{events:#?}");
    the_next_create_is_normal(&cloudwatch, &api).await;
}

#[tokio::test]
async fn a_delivery_whose_row_cannot_be_deleted_makes_one_copy() {
    let (cloudwatch, api) = in_delivery().await;
    // The call is answered, but what it delivered cannot be written down.
    let client = api.database.connect().await;
    let refuse =
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
        create trigger refuse before delete on audit_outbox execute function refuse()";
    client.batch_execute(refuse).await.unwrap();

    assert_eq!(end(&api, "create-schedule").await, End::Idle);
    client.batch_execute("drop trigger refuse on audit_outbox").await.unwrap();
    cloudwatch.heal();
    assert_eq!(waiting(&api).await.len(), 1);
    sweep(&api).await;
    let events = assert_exact(&cloudwatch, &api).await;
    assert_eq!(copies(&events).into_values().collect::<Vec<_>>(), [2], "{events:#?}");
    the_next_create_is_normal(&cloudwatch, &api).await;
}

#[tokio::test]
async fn a_tick_that_is_no_event_is_a_tick_all_the_same() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.next(2, Fault::DENY);
    create(&api).await;
    trail::age_outbox(&api).await;
    let processor = api.function("schedule-processor").await;

    for event in [tick_event(), Value::Null, json!([])] {
        processor.invoke(&event).await.value();
    }

    assert_eq!(ids(&assert_exact(&cloudwatch, &api).await).len(), 1);
}
