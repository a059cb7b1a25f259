//! A lot waits, from anywhere in time: every batch is legal, and none is lost.

use harness::api::Api;
use harness::cloudwatch::{CloudWatch, Fault};

use super::trail::{self, assert_exact, copies, create, ids, multiply, run, sweep, waiting};
use crate::support::turn_on;

/// As many events waiting as if that many creates had met an outage.
async fn backlog(cloudwatch: &CloudWatch, api: &Api, count: i32) {
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    create(api).await;
    api.settle().await;
    cloudwatch.heal();
    multiply(api, count - 1).await;
}

/// Makes all that waits have occurred at these times, as if CloudWatch Logs had been down for so long.
async fn occurred(api: &Api, times: &str) {
    let created_at = format!("jsonb_build_object('created_at', {times})");
    run(api, &format!("update audit_outbox set schedule = schedule || {created_at}")).await;
}

/// Everything that waits is delivered by one tick, once.
async fn is_delivered_once(cloudwatch: &CloudWatch, api: &Api, count: usize) {
    let report = sweep(api).await;

    assert_eq!(report["audit_delivered"], count, "{report:#}");
    assert_eq!(report["audit_backlog"], 0, "{report:#}");
    assert_eq!(report["audit_dead"], 0, "{report:#}");
    let events = assert_exact(cloudwatch, api).await;
    assert_eq!((events.len(), copies(&events).len()), (count, count), "each once");
}

#[tokio::test]
async fn ten_thousand_and_one_pending_events_are_delivered_in_order() {
    let (cloudwatch, api) = trail::start().await;
    backlog(&cloudwatch, &api, 10_001).await;
    let in_order = waiting(&api).await;

    is_delivered_once(&cloudwatch, &api, 10_001).await;

    assert_eq!(ids(&cloudwatch.events()), in_order);
}

#[tokio::test]
async fn equal_and_unsorted_times_are_sorted_within_each_batch() {
    let (cloudwatch, api) = trail::start().await;
    backlog(&cloudwatch, &api, 2_500).await;
    // Many are equal.
    occurred(&api, "date_trunc('minute', now() - random() * interval '20 hours')").await;

    is_delivered_once(&cloudwatch, &api, 2_500).await;
}

#[tokio::test]
async fn events_of_more_than_25_hours_go_in_batches_of_less_than_a_day() {
    let (cloudwatch, api) = trail::start().await;
    backlog(&cloudwatch, &api, 500).await;
    occurred(&api, "now() - random() * interval '60 hours'").await;

    is_delivered_once(&cloudwatch, &api, 500).await;

    let done = cloudwatch.puts().into_iter().filter(|call| call.fault.is_none()).count();
    assert!(done >= 2, "{done} calls");
}

#[tokio::test]
async fn events_of_more_than_a_megabyte_together_go_in_several_batches() {
    let (cloudwatch, api) = trail::start().await;
    cloudwatch.from_now_on(Fault::UNAVAILABLE);
    let mut body = turn_on();
    // Four bytes each.
    body["reason"] = "👩".repeat(500).into();
    api.create(&api.admin(), trail::FLAG, "", &body).await;
    api.settle().await;
    cloudwatch.heal();
    multiply(&api, 1_999).await;

    is_delivered_once(&cloudwatch, &api, 2_000).await;

    let bytes: usize = cloudwatch.stored().iter().map(|event| event.message.len() + 26).sum();
    assert!(bytes > 4 * 1_048_576, "{bytes} bytes");
}
