//! A function whose clock is wrong: the database's decides.
//!
//! No clock of a process can be set apart from the machine's, so this program is run once more as the function, with a
//! handler that is the real one's but for what it takes for now.

use chrono::TimeDelta;
use flag_schedules::app::App;
use flag_schedules::config::environment;
use flag_schedules::domain::time::Timestamp;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{Reply, ScheduleView};
use flag_schedules::lambda;
use flag_schedules::service::Created;
use harness::api::Api;
use serde_json::{Value, json};

use super::crowd::count;
use crate::support::in_seconds;

/// How wrong the clock is, in seconds.
const WRONG: &str = "TEST_CLOCK_IS_AHEAD_BY_SECONDS";

#[tokio::test]
#[ignore = "run as a function by other tests"]
async fn function_with_a_wrong_clock() {
    if environment("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    lambda::serve(|| App::start("create-schedule"), create).await.unwrap();
}

async fn create(app: &App, request: &Request) -> Result<Reply, Problem> {
    let wrong: i64 = environment(WRONG).unwrap().parse().unwrap();
    let now = Timestamp::truncate(app.now().to_utc() + TimeDelta::seconds(wrong));
    let caller = app.authenticate(request).await?;
    let schedule = request.new_schedule(now)?;
    Ok(match app.schedules.create(&caller, &schedule).await? {
        Created::New(schedule) => Reply::created(schedule)?,
        Created::Replayed(schedule) => Reply::ok(&ScheduleView::from(schedule))?,
    })
}

/// The service with a flag, whose `create-schedule` has a clock that is ahead by so many seconds.
async fn start(ahead: i64) -> Api {
    let setup = Api::with().env("create-schedule", WRONG, Some(&ahead.to_string()));
    let setup = setup.launch("create-schedule", |launch| {
        let name = "processor::function_clock::function_with_a_wrong_clock";
        launch.program(std::env::current_exe().unwrap(), &["--exact", name, "--ignored", "--nocapture"])
    });
    let api = setup.start().await;
    api.flag("a", "production").await;
    api
}

fn scheduled(seconds: i64) -> Value {
    json!({"scheduled_at": in_seconds(seconds), "updates": {"enabled": true}})
}

#[tokio::test]
async fn a_function_whose_clock_is_slow_stores_nothing_that_is_past_by_the_databases() {
    let api = start(-600).await;
    let token = api.admin();

    let past = api.create(&token, "a", "", &scheduled(-300)).await;
    let future = api.create(&token, "a", "", &scheduled(300)).await;

    assert_eq!(past.status, 400, "{past:?}");
    assert_eq!(past.json["errors"][0]["pointer"], "/scheduled_at", "{past:?}");
    assert_eq!(future.status, 201, "{future:?}");
    let client = api.database.connect().await;
    assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, 1);
    assert_eq!(api.events().await.len(), 1);
}

#[tokio::test]
async fn a_function_whose_clock_is_fast_refuses_what_is_near_and_stores_nothing_too_far_ahead() {
    const A_YEAR: i64 = 366 * 24 * 3600;
    let api = start(600).await;
    let token = api.admin();

    let near = api.create(&token, "a", "", &scheduled(300)).await;
    let ahead = api.create(&token, "a", "", &scheduled(900)).await;
    let too_far = api.create(&token, "a", "", &scheduled(A_YEAR + 300)).await;

    assert_eq!(near.status, 400, "{near:?}");
    assert_eq!(near.json["errors"][0]["pointer"], "/scheduled_at", "{near:?}");
    assert_eq!(ahead.status, 201, "{ahead:?}");
    assert_eq!(too_far.status, 400, "{too_far:?}");
    let client = api.database.connect().await;
    assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, 1);
}

#[tokio::test]
async fn what_is_due_is_due_by_the_databases_clock_and_not_by_the_events() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let created = api.create(&api.admin(), "a", "", &scheduled(60)).await;
    assert_eq!(created.status, 201, "{created:?}");
    let mut tomorrow = harness::api::tick_event();
    tomorrow["time"] = json!(in_seconds(24 * 3600));

    let report = api.function("schedule-processor").await.invoke(&tomorrow).await.value();

    assert_eq!(report["applied"], 0, "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (false, 0));
}
