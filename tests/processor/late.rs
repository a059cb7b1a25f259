//! Ticks that come late or were missing: all that is due is done once, oldest first, and the trail says how late.

use chrono::{DateTime, Utc};
use harness::api::Api;
use harness::cloudwatch::CloudWatch;
use serde_json::Value;
use uuid::Uuid;

use super::crowd::{assert_done_in_order, fill};
use crate::support::{of_type, text};

/// A minute in milliseconds.
const MINUTE: i64 = 60_000;

fn time(value: &Value, key: &str) -> DateTime<Utc> {
    text(value, key).parse().unwrap()
}

/// That every event says how long after its schedule's time it happened, and that it is at least so many minutes.
fn assert_lateness(events: &[Value], at_least: i64) {
    for event in events {
        let late = time(event, "occurred_at") - time(&event["schedule"], "scheduled_at");
        assert_eq!(event["lateness_ms"].as_i64(), Some(late.num_milliseconds()), "{event:#}");
        assert!(late.num_milliseconds() >= at_least * MINUTE, "{event:#}");
    }
}

#[tokio::test]
async fn a_tick_five_minutes_late_applies_all_in_order_and_tells_how_late() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    let client = api.database.connect().await;
    fill(&client, 6, 4).await;
    let sql = "update feature_flag_schedules set scheduled_at = scheduled_at - interval '5 minutes',
            apply_by = now() + interval '1 minute'";
    client.execute(sql, &[]).await.unwrap();

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 6 * 4, "{report:#}");
    let events = assert_done_in_order(&api, &[]).await;
    assert_lateness(&events, 5);
    let sql = "select applied_at from feature_flag_schedules where id = $1";
    let id: Uuid = text(&events[0], "schedule_id").parse().unwrap();
    let applied_at: DateTime<Utc> = client.query_one(sql, &[&id]).await.unwrap().get(0);
    assert_eq!(time(&events[0], "occurred_at").timestamp_millis(), applied_at.timestamp_millis());
}

#[tokio::test]
async fn after_three_hours_without_ticks_the_first_one_does_all_and_fails_what_has_expired() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    let client = api.database.connect().await;
    // One schedule of each of three flags for each minute of three hours; every other one may be half an hour late.
    fill(&client, 3, 180).await;
    let sql = "update feature_flag_schedules set
            scheduled_at = now() - (now() - scheduled_at) * 60 + interval '1 second',
            apply_by = case when updates ->> 'enabled' = 'true'
                then now() - (now() - scheduled_at) * 60 + interval '30 minutes 30 seconds' end";
    client.execute(sql, &[]).await.unwrap();
    let sql = "select id from feature_flag_schedules where apply_by < now()";
    let expired: Vec<Uuid> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(expired.len() > 200, "{} have expired", expired.len());

    let report = api.tick().await.value();

    assert_eq!(report["failed_expired"], expired.len(), "{report:#}");
    assert_eq!(report["applied"], 3 * 180 - expired.len(), "{report:#}");
    assert_eq!(report["still_due"], 0, "{report:#}");
    let events = assert_done_in_order(&api, &expired).await;
    assert_lateness(&events, 0);
    let failed: Vec<Value> = of_type(&events, "flag_schedule.failed").into_iter().cloned().collect();
    assert_lateness(&failed, 30);
    for event in &failed {
        assert_eq!(event["error"]["code"], "expired", "{event:#}");
        let message = text(&event["error"], "message");
        for part in [text(&event["schedule"], "apply_by"), text(event, "occurred_at")] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }
    let oldest = events.iter().filter_map(|event| event["lateness_ms"].as_i64()).max();
    assert!(oldest.is_some_and(|oldest| oldest > 179 * MINUTE), "{oldest:?}");
}
