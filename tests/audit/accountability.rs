//! Who did what: the row and the trail agree.

use harness::api::Api;
use serde_json::json;

use crate::support::{A_MOMENT, only, text, turn_on};

#[tokio::test]
async fn who_creates_and_who_cancels_are_both_recorded_and_the_creator_stays() {
    let api = Api::start().await;
    api.flag("new-checkout", "production").await;
    let anna = api.token().user("anna").claim("email", "anna@example.com").sign();
    let ben = api.token().user("ben").without_claim("email").sign();

    let created = api.create(&anna, "new-checkout", "", &turn_on()).await;
    let id = text(&created.json, "id").to_owned();
    let cancelled = api.cancel(&ben, "new-checkout", &id, "reason=not%20yet").await;
    let again = api.cancel(&anna, "new-checkout", &id, "").await;

    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.json["created_by"], "anna");
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(cancelled.json["created_by"], "anna");
    assert_eq!(cancelled.json["cancelled_by"], "ben");
    assert_eq!(cancelled.json["cancel_reason"], "not yet");
    assert_eq!(again.status, 409, "{again:?}");
    assert_eq!(again.json["code"], "schedule_not_pending");
    assert_eq!(again.json["schedule"], cancelled.json, "the loser is told who cancelled first");

    let events = api.events().await;
    assert_eq!(events.len(), 2, "{events:#?}");
    let event = only(&events, "flag_schedule.created");
    assert_eq!(event["actor"], json!({"type": "admin", "user_id": "anna", "email": "anna@example.com"}));
    assert_eq!(event["schedule_id"], id.as_str());
    assert_eq!(event["occurred_at"], created.json["created_at"]);
    let event = only(&events, "flag_schedule.cancelled");
    assert_eq!(event["actor"], json!({"type": "admin", "user_id": "ben", "email": null}));
    assert_eq!(event["schedule"]["created_by"], "anna");
    assert_eq!(event["cancel_reason"], "not yet");
    assert_eq!(event["occurred_at"], cancelled.json["cancelled_at"]);
}

#[tokio::test]
async fn what_a_tick_applies_is_the_systems_act_and_leaves_nothing_in_the_outbox() {
    let api = Api::start().await;
    api.flag("new-checkout", "production").await;
    let created = api.create(&api.admin(), "new-checkout", "", &turn_on()).await;
    let id = text(&created.json, "id").to_owned();
    api.make_due(&id, A_MOMENT).await;

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(report["still_due"], 0, "{report:#}");
    assert_eq!(api.flag_state("new-checkout", "production").await, (true, 0));
    let events = api.events().await;
    let event = only(&events, "flag_schedule.applied");
    assert_eq!(event["actor"], json!({"type": "system", "name": "schedule-processor"}));
    assert_eq!(
        event["schedule"]["created_by"], created.json["created_by"],
        "the creator stays in the schedule"
    );
    assert_eq!(event["change"]["before"], json!({"enabled": false, "rollout_percentage": 0}));
    assert_eq!(event["change"]["after"], json!({"enabled": true, "rollout_percentage": 0}));
    assert!(event["lateness_ms"].as_i64().is_some_and(|late| late >= 1000), "{event:#}");
    only(&events, "flag_schedule.created");
    let left: i64 = api
        .database
        .connect()
        .await
        .query_one("select count(*) from audit_outbox", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "delivered events are gone from the outbox");
}
