//! The handlers in this process: the functions' own `handle` with a real `App`, without Lambda around it.

use std::time::{Duration, Instant};

use flag_schedules::app::{App, ProcessorApp, ReadApp};
use flag_schedules::domain::admin::{Admin, CallContext, Caller};
use flag_schedules::domain::flag::{Environment, FlagAddress, FlagKey};
use flag_schedules::domain::schedule::{Cancellation, ScheduleId};
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::Reply;
use flag_schedules::ports::schedules::{PageQuery, ScheduleError};
use flag_schedules::service;
use harness::api::Api;
use harness::gateway;
use harness::lambda::Env;

use crate::warm::create_event;

const LIMIT: Duration = Duration::from_secs(30);

/// What an HTTP function is made of in this environment.
pub fn app(function: &'static str, env: &Env) -> App {
    App::with(function, &|name| env.get(name).map(str::to_owned)).expect("the settings are good")
}

/// The same, with its connection open.
pub async fn connected(function: &'static str, api: &Api) -> App {
    let app = app(function, &api.env(function));
    let caller = Caller {
        admin: Admin { user_id: "bench".to_owned(), email: None },
        call: CallContext { request_id: "bench".to_owned(), source_ip: None, user_agent: None },
    };
    let cancellation = Cancellation { flag: no_such_flag(), id: ScheduleId::generate(), reason: None };
    let cancelled = app.schedules.cancel(&caller, &cancellation).await;
    assert!(matches!(cancelled, Err(ScheduleError::NoSuchFlag)), "{cancelled:?}");
    app
}

/// What the reading function is made of, with its connection open.
pub async fn reader(api: &Api) -> ReadApp {
    let env = api.env("list-schedules");
    let app = ReadApp::with(&|name| env.get(name).map(str::to_owned)).expect("the settings are good");
    let page =
        service::list(&*app.schedules, &no_such_flag(), &PageQuery { status: None, limit: 1, after: None })
            .await;
    assert!(matches!(page, Err(ScheduleError::NoSuchFlag)), "{page:?}");
    app
}

fn no_such_flag() -> FlagAddress {
    FlagAddress {
        key: FlagKey::parse("no-such-flag".to_owned()).expect("a key"),
        environment: Environment::default(),
    }
}

/// Creates a schedule of the flag as the service does: bare clients take their facts from its event.
pub async fn create(api: &Api) {
    let app = app("create-schedule", &api.env("create-schedule"));
    let handle = async |request: &_| create_schedule::handle(&app, request).await;
    timed(&create_event(&api.admin()), 201, handle).await;
}

/// What the processor is made of, with its connection open.
pub async fn processor(api: &Api) -> ProcessorApp {
    let env = api.env("schedule-processor");
    let app = ProcessorApp::with("schedule-processor", &|name| env.get(name).map(str::to_owned));
    let app = app.expect("the settings are good");
    tick(&app).await;
    app
}

/// How long a tick took that found nothing to do.
pub async fn tick(app: &ProcessorApp) -> Duration {
    let begun = Instant::now();
    let report = app.processor.tick("bench", begun + LIMIT).await;
    let took = begun.elapsed();
    let report = report.unwrap_or_else(|error| panic!("expected a tick, got {error:?}"));
    assert_eq!((report.applied, report.still_due), (0, Some(0)), "{report:?}");
    took
}

/// An answer, and how long it took: from the bytes of the event to the body of the answer. Delivering audit events comes
/// after the answer, and is left out.
pub async fn timed(
    request: &gateway::Request,
    status: u16,
    handle: impl AsyncFnOnce(&Request) -> Result<Reply, Problem>,
) -> (Reply, Duration) {
    let event = request.event().to_string();
    let begun = Instant::now();
    let event = serde_json::from_slice(event.as_bytes()).expect("an event is JSON");
    let request = Request::read(event, "bench").expect("an event can be read");
    let reply = handle(&request).await;
    let took = begun.elapsed();
    let reply = reply.unwrap_or_else(|problem| panic!("expected an answer, got {problem:?}"));
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    (reply, took)
}
