//! What the network to the database does to a tick.

use std::time::Duration;

use harness::lambda::Outcome;
use harness::proxy::Mode;

use super::{assert_nothing_left_behind, behind_proxy, behind_proxy_with};
use crate::processor::crowd::{assert_done_in_order, count, fill};

#[tokio::test]
async fn a_tick_over_a_slow_network_is_only_slow() {
    let (api, proxy) = behind_proxy().await;
    fill(&api.database.connect().await, 5, 4).await;
    proxy.set(Mode::Delay(Duration::from_millis(150)));

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 20, "{report:#}");
    assert_eq!(report["interrupted"], false, "{report:#}");
    assert_done_in_order(&api, &[]).await;
}

#[tokio::test]
async fn a_tick_whose_database_stalls_ends_in_time_by_name_and_the_next_one_does_all() {
    // It gives up work in time to answer, so the less time it has, the shorter this test.
    let quick = |setup: harness::api::Setup| {
        setup.launch("schedule-processor", |launch| launch.timeout(Duration::from_secs(7)))
    };
    let (api, proxy) = behind_proxy_with(quick).await;
    api.tick().await.value();
    api.settle().await;
    let client = api.database.connect().await;
    fill(&client, 5, 4).await;

    proxy.set(Mode::Stall);
    let stalled = api.tick().await;
    let nothing = "select count(*) from feature_flag_schedules where status <> 'pending'";
    assert_eq!(count(&client, nothing).await, 0);
    proxy.set(Mode::Pass);
    let next = api.tick().await.value();

    assert!(
        matches!(&stalled.outcome, Outcome::FunctionError(error) if error.error_type == "DatabaseUnavailable"),
        "{stalled:?}"
    );
    assert_eq!(next["applied"], 20, "{next:#}");
    assert_done_in_order(&api, &[]).await;
    assert_nothing_left_behind(&api).await;
}
