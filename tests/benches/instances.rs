//! Execution environments of `create-schedule` at full speed: real processes, each with one request at a time, and with the
//! next one only when its audit event has been delivered, as on Lambda. Between two requests they are not frozen, which would
//! be the harness's own time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::api::Api;
use harness::lambda::{End, Function, Launch};
use hyper::body::Bytes;

pub const LIMIT: Duration = Duration::from_secs(30);

/// How many there are.
pub const INSTANCES: usize = 8;

/// An environment that is not frozen between two requests.
pub async fn create_schedule(api: &Api) -> Function {
    let launch = Launch::of("create-schedule").env(api.env("create-schedule")).freeze(false);
    launch.start().await.unwrap_or_else(|error| panic!("{error}"))
}

/// All of them.
pub async fn start(api: &Api) -> Vec<Function> {
    join_all((0..INSTANCES).map(|_| create_schedule(api))).await
}

/// One create: how long its caller waited, and how long it took until the environment was free again.
///
/// # Panics
/// When it fails, or the process has ended.
pub async fn create(function: &Function, event: Bytes) -> (Duration, Duration) {
    let invocation = function.invoke_bytes(event).await;
    let response_after = invocation.response_after;
    let answer = invocation.value();
    assert_eq!(answer["statusCode"], 201, "{answer:#}");
    let settled = function.settled(LIMIT).await.expect("it was invoked");
    assert_eq!(settled.end, End::Idle, "{}", function.logs().join("\n"));
    (response_after, settled.done_after)
}

/// Creates from all of them at once until `end`, each of which is reported with the time that its caller waited.
pub async fn create_until(
    end: Instant,
    functions: &[Function],
    event: impl Fn() -> Bytes,
    done: impl Fn(Duration),
) {
    join_all(functions.iter().map(async |function| {
        while Instant::now() < end {
            done(create(function, event()).await.0);
        }
    }))
    .await;
}
