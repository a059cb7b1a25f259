//! What somebody with every right to the database or the log did, one thing at a time.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::trail_world::{FLAG, World, turn_on_in, wait_until_due};
use crate::support::{LIMIT, text};

/// The findings without the counts.
fn found(result: &Value) -> Value {
    for list in ["missing", "unknown", "different"] {
        let count = result[list].as_array().map(Vec::len);
        assert_eq!(result[format!("{list}_count")].as_u64(), count.map(|count| count as u64), "{result:#}");
    }
    json!({"missing": result["missing"], "unknown": result["unknown"], "different": result["different"]})
}

/// What is reported of an event that contradicts its row.
fn different(event: &Value, fields: &[&str], row_status: &str) -> Value {
    json!({
        "schedule_id": event["schedule_id"], "event_type": event["event_type"], "event_id": event["event_id"],
        "occurred_at": event["occurred_at"], "flag_key": FLAG, "environment": "production",
        "fields": fields, "row_status": row_status,
    })
}

#[tokio::test]
async fn a_schedule_that_was_applied_twice_is_reported() {
    let world = World::start().await;
    let id = world.create(&turn_on_in(1)).await;
    wait_until_due().await;
    world.api.tick().await.value();
    let first = world.event(&id, "applied");
    world.sql("update feature_flag_schedules set status = 'pending', applied_at = null").await;
    world.api.tick().await.value();

    let result = world.verify().await;

    let expected = json!({
        "missing": [],
        "unknown": [],
        "different": [different(&first, &["lateness_ms", "occurred_at"], "applied")],
    });
    assert_eq!(found(&result), expected, "{result:#}");
}

#[tokio::test]
async fn a_schedule_that_was_set_back_contradicts_its_event() {
    let world = World::start().await;
    let id = world.create(&turn_on_in(1)).await;
    wait_until_due().await;
    world.api.tick().await.value();
    world.sql("update feature_flag_schedules set status = 'pending', applied_at = null").await;

    let result = world.verify().await;

    let different = different(&world.event(&id, "applied"), &["event_type"], "pending");
    assert_eq!(found(&result), json!({"missing": [], "unknown": [], "different": [different]}), "{result:#}");
}

#[tokio::test]
async fn a_cancellation_that_nobody_asked_the_service_for_is_missing() {
    let world = World::start().await;
    let id = world.create(&turn_on_in(3600)).await;
    world
        .sql("update feature_flag_schedules set status = 'cancelled', cancelled_at = now(), cancelled_by = 'ben'")
        .await;

    let result = world.verify().await;

    assert_eq!(result["missing"][0]["schedule_id"], id, "{result:#}");
    assert_eq!(result["missing"][0]["event_type"], "flag_schedule.cancelled", "{result:#}");
    assert_eq!(result["missing"][0]["flag_key"], FLAG, "{result:#}");
    assert_eq!(result["missing_count"], 1, "{result:#}");
    assert_eq!((&result["unknown"], &result["different"]), (&json!([]), &json!([])), "{result:#}");
    let function = world.api.function("verify-trail").await;
    let metrics = function.wait_for_log(|line| line.contains("CloudWatchMetrics"), LIMIT).await;
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!((&metrics["TrailMissing"], &metrics["TrailComplete"]), (&json!(1), &json!(1)), "{metrics:#}");
}

#[tokio::test]
async fn forged_events_are_unknown_or_different() {
    let world = World::start().await;
    let id = world.create(&turn_on_in(3600)).await;
    world.api.settle().await;
    let honest = world.event(&id, "created");
    let mut of_nothing = honest.clone();
    of_nothing["schedule_id"] = json!(Uuid::now_v7());
    let mut altered = honest.clone();
    altered["actor"]["user_id"] = json!("somebody-else");
    let mut second = honest.clone();
    second["event_id"] = json!(Uuid::now_v7());
    for forged in [&of_nothing, &altered, &second] {
        world.forge(forged).await;
    }

    let result = world.verify().await;

    assert_eq!((&result["missing_count"], &result["unknown_count"]), (&json!(0), &json!(2)), "{result:#}");
    let reasons: Vec<_> =
        result["unknown"].as_array().into_iter().flatten().map(|unknown| &unknown["reason"]).collect();
    assert!(
        reasons.contains(&&json!("no_schedule")) && reasons.contains(&&json!("second_event")),
        "{result:#}"
    );
    assert_eq!(result["different"], json!([different(&honest, &["actor.user_id"], "pending")]), "{result:#}");
    for unknown in result["unknown"].as_array().into_iter().flatten() {
        let facts = (&unknown["flag_key"], &unknown["environment"], &unknown["occurred_at"]);
        assert_eq!(facts, (&json!(FLAG), &json!("production"), &honest["occurred_at"]), "{result:#}");
    }
    let function = world.api.function("verify-trail").await;
    for (name, value) in [("reason", "no_schedule"), ("reason", "second_event"), ("fields", "actor.user_id")]
    {
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let line = function.wait_for_log(|line| parse(line)[name] == value, Duration::from_secs(10)).await;
        let line = parse(&line);
        assert_eq!((&line["level"], &line["flag_key"]), (&json!("ERROR"), &json!(FLAG)), "{line:#}");
    }
}

/// The row and its event agree, so nothing is missing: the other event is the forged one.
#[tokio::test]
async fn a_forged_cancellation_of_an_applied_schedule_differs_from_a_row_that_was_set_to_cancelled() {
    let world = World::start().await;
    let (forged, altered) = (world.create(&turn_on_in(1)).await, world.create(&turn_on_in(1)).await);
    wait_until_due().await;
    world.api.tick().await.value();
    let mut cancellation = world.event(&forged, "created");
    cancellation["event_type"] = json!("flag_schedule.cancelled");
    cancellation["event_id"] = json!(Uuid::now_v7());
    cancellation["cancel_reason"] = Value::Null;
    world.forge(&cancellation).await;
    let cancel = "update feature_flag_schedules
        set status = 'cancelled', cancelled_by = 'ben', cancelled_at = now(), applied_at = null";
    world.sql(&format!("{cancel} where id = '{altered}'")).await;

    let result = world.verify().await;

    let mut expected = [
        different(&cancellation, &["event_type"], "applied"),
        different(&world.event(&altered, "applied"), &["event_type"], "cancelled"),
    ];
    let mut found = result["different"].as_array().cloned().unwrap_or_default();
    for list in [&mut expected[..], &mut found[..]] {
        list.sort_by_key(|different| text(different, "row_status").to_owned());
    }
    assert_eq!(found, expected, "{result:#}");
    assert_eq!((&result["missing_count"], &result["unknown_count"]), (&json!(1), &json!(0)), "{result:#}");
    assert_eq!(result["missing"][0]["schedule_id"], altered, "{result:#}");
}

#[tokio::test]
async fn the_events_of_a_deleted_flag_are_unknown() {
    let world = World::start().await;
    let id = world.create(&turn_on_in(3600)).await;
    world.cancel(&id).await;
    world.api.settle().await;
    let owner = world.api.database.connect().await;
    owner.batch_execute("delete from feature_flags").await.unwrap();

    let result = world.verify().await;

    assert_eq!((&result["checked"], &result["unknown_count"]), (&json!(0), &json!(2)), "{result:#}");
    assert_eq!((&result["missing"], &result["different"]), (&json!([]), &json!([])), "{result:#}");
    assert_eq!(result["unknown"][0]["schedule_id"], id, "{result:#}");
}

#[tokio::test]
async fn a_row_that_was_altered_contradicts_its_events() {
    let world = World::start().await;
    let id = world.create(&turn_on_in(3600)).await;
    world.cancel(&id).await;
    world.sql("update feature_flag_schedules set reason = 'it was agreed', cancelled_by = 'ben'").await;

    let result = world.verify().await;

    let fields = |event_type: &str| {
        let different = result["different"].as_array().into_iter().flatten();
        let of_type = |it: &&Value| {
            it["event_type"] == format!("flag_schedule.{event_type}") && it["schedule_id"] == id
        };
        different.filter(of_type).map(|it| it["fields"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(fields("created"), [json!(["schedule.reason"])], "{result:#}");
    assert_eq!(fields("cancelled"), [json!(["actor.user_id", "schedule.reason"])], "{result:#}");
    assert_eq!((&result["missing"], &result["unknown"]), (&json!([]), &json!([])), "{result:#}");
}
