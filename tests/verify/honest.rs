//! Honest histories: creates, cancels, applies and failures, with all that may go wrong on the way to the log.

use std::time::Duration;

use harness::api::{create_request, tick_event};
use harness::cloudwatch::Fault;
use serde_json::json;

use super::trail_world::{World, assert_no_findings, too_late_in, turn_on_in, wait_until_due};

#[tokio::test]
async fn nothing_is_found_after_an_honest_history() {
    let world = World::start().await;
    for _ in 0..3 {
        world.create(&turn_on_in(1)).await;
    }
    world.create(&too_late_in(1)).await;
    world.create(&turn_on_in(3600)).await;
    let cancelled = world.create(&turn_on_in(3600)).await;
    world.cancel(&cancelled).await;
    wait_until_due().await;
    let report = world.api.tick().await.value();
    assert_eq!((&report["applied"], &report["failed_expired"]), (&json!(3), &json!(1)), "{report:#}");

    let result = world.verify().await;

    assert_no_findings(&result);
    assert_eq!(result["checked"], world.transitions().await, "{result:#}");
    assert_eq!(result["checked"], 11, "{result:#}");
    assert_eq!((&result["events"], &result["duplicates"]), (&json!(11), &json!(0)), "{result:#}");
}

#[tokio::test]
async fn a_log_that_stores_without_answering_causes_duplicates_and_no_findings() {
    let world = World::start().await;
    world.cloudwatch.next(1, Fault::StoreThenCut);
    world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    world.cloudwatch.next(1, Fault::StoreThenSilence);
    world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    world.deliver().await;

    let result = world.verify().await;

    assert_no_findings(&result);
    assert_eq!((&result["checked"], &result["duplicates"]), (&json!(2), &json!(2)), "{result:#}");
}

#[tokio::test]
async fn an_event_in_the_outbox_is_undelivered_and_not_missing() {
    let world = World::start().await;
    world.cloudwatch.from_now_on(Fault::UNAVAILABLE);
    world.create(&turn_on_in(3600)).await;

    let result = world.verify().await;

    assert_no_findings(&result);
    assert_eq!((&result["undelivered"], &result["events"]), (&json!(1), &json!(0)), "{result:#}");
}

#[tokio::test]
async fn events_that_the_outbox_could_not_take_are_found_in_the_log() {
    let world = World::start().await;
    world.sql("alter table audit_outbox rename to away").await;
    world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    world.sql("alter table away rename to audit_outbox").await;

    let result = world.verify().await;

    assert_no_findings(&result);
    assert_eq!((&result["checked"], &result["events"]), (&json!(1), &json!(1)), "{result:#}");
}

#[tokio::test]
async fn functions_that_were_killed_leave_no_findings() {
    let world = World::start().await;
    let event = create_request(super::trail_world::FLAG, "", &turn_on_in(2)).bearer(&world.token).event();
    for micros in (0..6_000).step_by(500) {
        for (name, event) in [("create-schedule", &event), ("schedule-processor", &tick_event())] {
            let function = world.api.function(name).await;
            let killing = async {
                tokio::time::sleep(Duration::from_micros(micros)).await;
                function.kill();
            };
            tokio::join!(function.invoke(event), killing);
        }
    }
    world.deliver().await;

    let result = world.verify().await;

    assert_no_findings(&result);
    assert_eq!(result["checked"], world.transitions().await, "{result:#}");
}
