//! The same tick delivered many times at once.

use std::time::Duration;

use futures_util::future::join_all;
use harness::api::{Api, tick_event};
use harness::cloudwatch::CloudWatch;

use super::crowd::{assert_done_in_order, fill};

const TICKS: usize = 10;
const DUE: u64 = 40 * 5;

fn applied(report: &serde_json::Value) -> u64 {
    report["applied"].as_u64().unwrap()
}

#[tokio::test]
async fn the_same_tick_ten_times_at_once_applies_each_schedule_once_and_in_order() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    fill(&api.database.connect().await, 40, 5).await;
    let mut processors = Vec::new();
    for _ in 0..TICKS {
        processors.push(api.another("schedule-processor").await);
    }

    let tick = tick_event();
    let reports = join_all(processors.iter().map(|processor| processor.invoke(&tick))).await;
    let reports: Vec<_> = reports.into_iter().map(|report| report.value()).collect();
    let again = api.tick().await.value();

    let at_once: u64 = reports.iter().map(applied).sum();
    assert_eq!(at_once + applied(&again), DUE, "{reports:#?}, then {again:#}");
    for processor in &processors {
        processor.settled(Duration::from_secs(30)).await;
    }
    assert_done_in_order(&api, &[]).await;
}

#[tokio::test]
async fn the_same_tick_ten_times_in_a_row_does_nothing_after_the_first() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    fill(&api.database.connect().await, 4, 5).await;

    let first = api.tick().await.value();
    for _ in 1..TICKS {
        let next = api.tick().await.value();
        assert_eq!((&next["applied"], &next["audit_delivered"]), (&0.into(), &0.into()), "{next:#}");
    }

    assert_eq!(applied(&first), 4 * 5, "{first:#}");
    assert_done_in_order(&api, &[]).await;
}
