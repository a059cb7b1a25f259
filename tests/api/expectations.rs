//! `expect`: the state that a flag must have when its change comes up.

use serde_json::{Value, json};

use super::{FLAG, api_with_flag, assert_problem, pointers};
use crate::support::{A_MOMENT, in_seconds, only, text};

fn body(expect: &Value) -> Value {
    json!({"scheduled_at": in_seconds(3600), "updates": {"rollout_percentage": 50}, "expect": expect})
}

#[tokio::test]
async fn what_is_expected_is_stored_shown_and_audited() {
    let (api, _) = api_with_flag().await;
    for expect in [
        json!({"enabled": true}),
        json!({"rollout_percentage": 25}),
        json!({"enabled": false, "rollout_percentage": 0}),
        Value::Null,
    ] {
        let created = api.create(&api.admin(), FLAG, "", &body(&expect)).await;
        assert_eq!((created.status, &created.json["expect"]), (201, &expect), "{created:?}");
        let events = api.events().await;
        let event = events.iter().find(|event| event["schedule_id"] == created.json["id"]).unwrap();
        assert_eq!((&event["schedule"]["expect"], &event["schema_version"]), (&expect, &json!(2)));
    }
}

#[tokio::test]
async fn what_no_flag_can_be_is_refused() {
    let (api, _) = api_with_flag().await;
    for (expect, places) in [
        (json!({}), vec!["/expect"]),
        (json!("on"), vec!["/expect"]),
        (json!([]), vec!["/expect"]),
        (json!({"enabled": "on"}), vec!["/expect/enabled"]),
        (json!({"enabled": null}), vec!["/expect/enabled"]),
        (
            json!({"rollout_percentage": 101, "colour": 1}),
            vec!["/expect/colour", "/expect/rollout_percentage"],
        ),
        (json!({"rolloutPercentage": 5}), vec!["/expect/rolloutPercentage"]),
    ] {
        let refused = api.create(&api.admin(), FLAG, "", &body(&expect)).await;
        assert_problem(&refused, 400, "invalid_request", &expect.to_string());
        assert_eq!(pointers(&refused), places, "{expect}");
    }
}

#[tokio::test]
async fn another_expectation_is_another_change_for_the_same_idempotency_key() {
    let (api, _) = api_with_flag().await;
    let send = async |expect: Value| {
        let mut body = body(&expect);
        body["scheduled_at"] = json!("2026-12-24T18:00:00Z");
        let request = harness::api::create_request(FLAG, "", &body).header("idempotency-key", "k");
        api.send(&request.bearer(&api.admin())).await.status
    };

    assert_eq!(send(json!({"enabled": true})).await, 201);
    assert_eq!(send(json!({"enabled": true})).await, 200);
    assert_eq!(send(json!({"enabled": false})).await, 422);
    assert_eq!(send(Value::Null).await, 422);
}

/// Half of the users, if a quarter still have it; but on-call has switched it off in the meantime.
#[tokio::test]
async fn what_on_call_did_in_the_meantime_is_never_undone() {
    let (api, flag) = api_with_flag().await;
    let client = api.database.connect().await;
    let set = "update feature_flags set enabled = $2, rollout_percentage = $3 where id = $1";
    client.execute(set, &[&flag, &true, &25]).await.unwrap();
    let expect = json!({"enabled": true, "rollout_percentage": 25});
    let created = api.create(&api.admin(), FLAG, "", &body(&expect)).await;
    let id = text(&created.json, "id").to_owned();
    client.execute(set, &[&flag, &false, &25]).await.unwrap();
    api.make_due(&id, A_MOMENT).await;

    let report = api.tick().await.value();

    assert_eq!(
        (&report["failed_unexpected_state"], &report["applied"]),
        (&json!(1), &json!(0)),
        "{report:#}"
    );
    assert_eq!(api.flag_state(FLAG, "production").await, (false, 25));
    let failed = api.find(&api.admin(), FLAG, &id, "").await.json;
    assert_eq!((text(&failed, "status"), text(&failed, "error_code")), ("failed", "unexpected_state"));
    let told = "the flag is not in the expected state: `enabled` is false, not true";
    assert_eq!(text(&failed, "error_message"), told);
    let events = api.events().await;
    let event = only(&events, "flag_schedule.failed");
    assert_eq!(event["error"], json!({"code": "unexpected_state", "message": told}));
    assert_eq!(event["schedule"]["expect"], expect);
    assert_eq!(event["state"], json!({"enabled": false, "rollout_percentage": 25}));
}

/// Each is held against the state that the one before it left.
#[tokio::test]
async fn steps_that_come_up_together_expect_each_other() {
    let (api, _) = api_with_flag().await;
    let step = |expect: i64, percentage: i64| {
        json!({"scheduled_at": in_seconds(3600 + percentage), "expect": {"rollout_percentage": expect},
            "updates": {"enabled": true, "rollout_percentage": percentage}})
    };
    let mut ids = Vec::new();
    for body in [step(0, 25), step(25, 50), step(25, 75), step(50, 100)] {
        ids.push(text(&api.create(&api.admin(), FLAG, "", &body).await.json, "id").to_owned());
    }
    for (id, ago) in ids.iter().zip([40, 30, 20, 10]) {
        api.make_due(id, std::time::Duration::from_secs(ago)).await;
    }

    let report = api.tick().await.value();

    assert_eq!(
        (&report["applied"], &report["failed_unexpected_state"]),
        (&json!(3), &json!(1)),
        "{report:#}"
    );
    assert_eq!(api.flag_state(FLAG, "production").await, (true, 100));
    let events = api.events().await;
    let failed = only(&events, "flag_schedule.failed");
    assert_eq!(
        (text(failed, "schedule_id"), &failed["state"]["rollout_percentage"]),
        (ids[2].as_str(), &json!(50))
    );
}
