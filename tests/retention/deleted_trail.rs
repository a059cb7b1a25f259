//! The audit trail of deleted schedules: nothing is deleted before its events are delivered, and a verification that begins
//! at the cut-off finds nothing.

use chrono::{DateTime, SecondsFormat, TimeDelta};
use harness::cloudwatch::Fault;
use serde_json::{Value, json};

use crate::support::in_seconds;
use crate::verify::trail_world::{World, assert_no_findings, turn_on_in};

const DAY: i64 = 24 * 60 * 60;
/// How long ago everything happened in the end.
const AGO: i64 = 40 * DAY;

/// Moves all that has happened so far to [`AGO`], in the database as in the log.
async fn let_time_pass(world: &World) {
    world.api.settle().await;
    let times = ["scheduled_at", "created_at", "updated_at", "cancelled_at", "applied_at", "failed_at"];
    let moved: Vec<_> = times.iter().map(|it| format!("{it} = {it} - interval '{AGO} seconds'")).collect();
    world.sql(&format!("update feature_flag_schedules set {}", moved.join(", "))).await;
    world.sql(&format!("update audit_outbox set written_at = written_at - interval '{AGO} seconds'")).await;
    world.cloudwatch.tamper(|log| {
        for stored in log {
            let mut event = stored.json();
            for pointer in ["/occurred_at", "/schedule/scheduled_at", "/schedule/created_at"] {
                let time = event.pointer_mut(pointer).unwrap();
                let before = DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap().to_utc();
                *time =
                    json!((before - TimeDelta::seconds(AGO)).to_rfc3339_opts(SecondsFormat::Millis, true));
            }
            stored.timestamp -= AGO * 1000;
            stored.message = event.to_string().into();
        }
    });
}

async fn delete_ended(world: &World, age: &str) -> i32 {
    let owner = world.api.database.connect().await;
    let sql = format!("select flag_schedules_delete_ended('{age}', 1000)");
    owner.query_one(&sql, &[]).await.unwrap().get(0)
}

async fn verify_since(world: &World, seconds_ago: i64) -> Value {
    world.api.settle().await;
    world.invoke(&json!({"from": in_seconds(-seconds_ago), "to": in_seconds(0)})).await.value()
}

#[tokio::test]
async fn a_verification_that_begins_at_the_cut_off_does_not_see_what_was_deleted() {
    let world = World::start().await;
    let cancelled = world.create(&turn_on_in(3600)).await;
    world.cancel(&cancelled).await;
    // Created before the cut-off like the other, but it ends after it.
    let pending = world.create(&turn_on_in(AGO + 3600)).await;
    let_time_pass(&world).await;
    world.cancel(&pending).await;
    assert_no_findings(&verify_since(&world, AGO + DAY).await);

    assert_eq!(delete_ended(&world, "30 days").await, 1);

    let since_cut_off = verify_since(&world, 30 * DAY).await;
    assert_no_findings(&since_cut_off);
    assert_eq!(since_cut_off["checked"], 1, "{since_cut_off:#}");
    let all = verify_since(&world, AGO + DAY).await;
    assert_eq!((&all["missing"], &all["different"]), (&json!([]), &json!([])), "{all:#}");
    let unknown: Vec<_> =
        all["unknown"].as_array().unwrap().iter().map(|it| (&it["schedule_id"], &it["reason"])).collect();
    assert_eq!(unknown, [(&json!(cancelled), &json!("no_schedule")); 2], "{all:#}");
}

#[tokio::test]
async fn nothing_is_deleted_before_its_events_are_delivered() {
    let world = World::start().await;
    let first = world.create(&turn_on_in(3600)).await;
    world.cancel(&first).await;
    let_time_pass(&world).await;
    world.cloudwatch.from_now_on(Fault::UNAVAILABLE);
    let second = world.create(&turn_on_in(3600)).await;
    world.cancel(&second).await;
    let_time_pass(&world).await;

    // What ended before the oldest event that is undelivered may go, the rest has to wait for it.
    assert_eq!(delete_ended(&world, "30 days").await, 1);
    assert_eq!(delete_ended(&world, "30 days").await, 0);
    world.deliver().await;
    assert_eq!(delete_ended(&world, "30 days").await, 1);
    assert_eq!(world.transitions().await, 0);
}
