//! Input, time and access: what a run says that cannot do all of its work.

use std::time::Duration;

use harness::api::Api;
use harness::lambda::{Launch, Outcome};
use serde_json::{Value, json};

use super::trail_world::{World, assert_no_findings, turn_on_in};
use crate::support::{LIMIT, in_seconds};

#[tokio::test]
async fn bad_input_is_refused_with_its_reason() {
    let world = World::start().await;
    for (input, reason) in [
        (json!("yesterday"), "not an object"),
        (json!({"since": in_seconds(-60)}), "`since` is not a known field"),
        (json!({"from": "yesterday"}), "`from` is not a time"),
        (json!({"to": in_seconds(3600)}), "later than now"),
        (json!({"from": in_seconds(-60), "to": in_seconds(-120)}), "not before"),
        (json!({"resume": in_seconds(0)}), "not between"),
    ] {
        let error = world.invoke(&input).await.error();

        assert_eq!(error.error_type, "InvalidInput", "{input}: {error:?}");
        assert!(error.message.contains(reason), "{input}: {error:?}");
    }
}

#[tokio::test]
async fn without_input_the_last_25_hours_are_verified() {
    let world = World::start().await;

    let result = world.invoke(&json!({})).await.value();

    assert_no_findings(&result);
    let time = |name: &str| chrono::DateTime::parse_from_rfc3339(result[name].as_str().unwrap()).unwrap();
    assert_eq!(time("to") - time("from"), chrono::TimeDelta::hours(25), "{result:#}");
}

#[tokio::test]
async fn throttled_reads_are_repeated() {
    let world = World::start().await;
    world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    world.cloudwatch.throttle_reads(3);

    let result = world.verify().await;

    assert_no_findings(&result);
    assert_eq!(result["events"], 1, "{result:#}");
}

/// More than a page of what nobody should write there, in either of the two logs.
#[tokio::test]
async fn a_log_of_several_pages_is_read_to_its_end() {
    let world = World::start().await;
    for api in [&world.api, &Api::start().await] {
        let at = harness::clock::now().timestamp_millis() - 1000;
        let event = |n: usize| json!({"timestamp": at, "message": format!("line {n}")});
        let body = json!({
            "logGroupName": api.group.name(),
            "logStreamName": "create-schedule",
            "logEvents": (0..4_500).map(event).collect::<Vec<_>>(),
        });
        api.group.logs().call("PutLogEvents", body).await.unwrap();

        let window = json!({"from": in_seconds(-3600), "to": in_seconds(0)});
        let result = api.function("verify-trail").await.invoke(&window).await.value();

        assert_eq!(
            (&result["events"], &result["unknown_count"]),
            (&json!(4_500), &json!(4_500)),
            "{result:#}"
        );
        assert_eq!(result["unknown"].as_array().map(Vec::len), Some(1_000));
        assert_eq!(result["unknown"][0]["reason"], "unreadable");
    }
}

#[tokio::test]
async fn a_log_that_may_not_be_read_fails_the_run() {
    let world = World::start().await;
    world.cloudwatch.deny("FilterLogEvents");

    let error = world.invoke(&json!({})).await.error();

    assert_eq!(error.error_type, "TrailUnreadable", "{error:?}");
    assert!(error.message.contains("AccessDenied"), "{error:?}");
    let function = world.api.function("verify-trail").await;
    function.wait_for_log(|line| line.contains(r#""TrailComplete":0"#), LIMIT).await;
    // By the name that the runbook has.
    let is_told = |line: &str| line.contains(r#""level":"ERROR""#) && line.contains("TrailUnreadable");
    function.wait_for_log(is_told, LIMIT).await;
}

#[tokio::test]
async fn a_run_that_is_out_of_time_says_where_to_resume() {
    let world = World::start().await;
    world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    world.cloudwatch.throttle_reads(1_000);
    let env = world.api.env("verify-trail");
    let short = Launch::of("verify-trail").env(env).timeout(Duration::from_secs(3)).start().await.unwrap();

    let result = short.invoke(&json!({})).await.value();

    assert_eq!((&result["complete"], &result["resume"]), (&json!(false), &result["from"]), "{result:#}");
    world.cloudwatch.throttle_reads(0);
    let input = json!({"from": result["from"], "to": in_seconds(0), "resume": result["resume"]});
    let invocation = world.invoke(&input).await;
    assert!(matches!(invocation.outcome, Outcome::Ok(_)), "{invocation:?}");
    let resumed: Value = invocation.value();
    assert_no_findings(&resumed);
    assert_eq!(resumed["checked"], 1, "{resumed:#}");
}
