//! Delivery after a response ends within its budget, whatever stalls, and whenever.

use std::time::Duration;

use harness::api::Api;
use harness::cloudwatch::{CloudWatch, Fault};
use harness::lambda::{End, Function, Launch};
use harness::proxy::{Mode, Proxy};

use super::trail::{FLAG, assert_exact, copies, no_transaction_is_open, sweep};
use crate::support::{LIMIT, turn_on};

/// A delivery may take this long.
const BUDGET: Duration = Duration::from_secs(2);
/// What this machine may take on top to notice that the environment is at rest.
const NOTICE: Duration = Duration::from_millis(250);

/// The service with a strict CloudWatch Logs, and a network of its own between `create-schedule` and the database.
async fn start(timeout: fn(Launch) -> Launch) -> (CloudWatch, Api, Proxy) {
    let cloudwatch = CloudWatch::start().await;
    let database = harness::database::Database::migrated().await;
    let (proxy, url) = database.behind_proxy().await;
    let setup = Api::with().database(database).cloudwatch(&cloudwatch).launch("create-schedule", timeout);
    let api = setup.env("create-schedule", "DATABASE_URL", Some(&url)).start().await;
    api.flag(FLAG, "production").await;
    // Everything is open and warm.
    created(&api).await;
    api.settle().await;
    (cloudwatch, api, proxy)
}

fn patient(launch: Launch) -> Launch {
    launch.timeout(LIMIT)
}

/// A create that succeeds; gives how long its answer took.
async fn created(api: &Api) -> Duration {
    let event = harness::api::create_request(FLAG, "", &turn_on()).bearer(&api.admin()).event();
    let invocation = api.function("create-schedule").await.invoke(&event).await;
    let response_after = invocation.response_after;
    assert_eq!(invocation.value()["statusCode"], 201);
    response_after
}

/// Waits until the environment is at rest; gives how long after the answer that was.
async fn rest_after(function: &Function, response_after: Duration) -> Duration {
    let settled = function.settled(LIMIT).await.unwrap();
    assert_eq!(settled.end, End::Idle, "it was killed at its deadline");
    settled.done_after - response_after
}

/// After a stall the event is there once or, where it may have been stored, twice.
async fn recovers(cloudwatch: &CloudWatch, api: &Api, proxy: &Proxy) {
    cloudwatch.heal();
    proxy.set(Mode::Cut);
    no_transaction_is_open(api).await;
    proxy.set(Mode::Pass);
    sweep(api).await;
    let copies = copies(&assert_exact(cloudwatch, api).await);
    assert!(copies.values().all(|copies| *copies <= 2), "{copies:?}");
    created(api).await;
    assert_exact(cloudwatch, api).await;
}

#[tokio::test]
async fn a_database_that_stalls_right_after_the_response_does_not_keep_the_environment() {
    let (cloudwatch, api, proxy) = start(patient).await;
    // The database stalls while CloudWatch is asked, so at the latest before the fates are stored.
    cloudwatch.slow_down(Duration::from_millis(200));

    let response_after = created(&api).await;
    proxy.set(Mode::Stall);
    let rest = rest_after(api.function("create-schedule").await, response_after).await;

    assert!(rest <= BUDGET + NOTICE, "{rest:?}");
    recovers(&cloudwatch, &api, &proxy).await;
}

#[tokio::test]
async fn a_database_that_stalls_while_cloudwatch_is_asked_does_not_keep_the_environment() {
    for fault in [None, Some(Fault::Silence), Some(Fault::StoreThenSilence), Some(Fault::UNAVAILABLE)] {
        let (cloudwatch, api, proxy) = start(patient).await;
        cloudwatch.slow_down(Duration::from_millis(300));
        fault.into_iter().for_each(|fault| cloudwatch.from_now_on(fault));
        let calls = cloudwatch.puts().len();

        let response_after = created(&api).await;
        cloudwatch.wait_for_puts(|puts| puts.len() > calls).await;
        proxy.set(Mode::Stall);
        let rest = rest_after(api.function("create-schedule").await, response_after).await;

        assert!(rest <= BUDGET + NOTICE, "{fault:?}: {rest:?}");
        recovers(&cloudwatch, &api, &proxy).await;
    }
}

#[tokio::test]
async fn a_database_that_stalls_at_any_moment_of_a_delivery_does_not_keep_the_environment() {
    let (cloudwatch, api, proxy) = start(patient).await;
    // Round trips of a create and its delivery: the statement, and the deletion of its event.
    for flights in 2..=3 {
        let before = proxy.flights();
        let watching = async {
            while proxy.flights() < before + flights {
                tokio::task::yield_now().await;
            }
            proxy.set(Mode::Stall);
        };
        let (watched, response_after) =
            tokio::join!(tokio::time::timeout(Duration::from_secs(3), watching), created(&api));
        if watched.is_err() {
            assert!(flights > 2, "a create and its delivery make at least two round trips: {flights}");
            continue;
        }
        let rest = rest_after(api.function("create-schedule").await, response_after).await;

        assert!(rest <= BUDGET + NOTICE, "{flights}: {rest:?}");
        recovers(&cloudwatch, &api, &proxy).await;
    }
}

#[tokio::test]
async fn a_delivery_ends_before_a_near_deadline_of_the_invocation() {
    let (cloudwatch, api, proxy) = start(|launch| launch.timeout(Duration::from_millis(1500))).await;
    cloudwatch.from_now_on(Fault::StoreThenSilence);
    let calls = cloudwatch.puts().len();

    let response_after = created(&api).await;
    cloudwatch.wait_for_puts(|puts| puts.len() > calls).await;
    proxy.set(Mode::Stall);
    let rest = rest_after(api.function("create-schedule").await, response_after).await;

    assert!(response_after + rest <= Duration::from_millis(1200) + NOTICE, "{response_after:?} {rest:?}");
    recovers(&cloudwatch, &api, &proxy).await;
}
