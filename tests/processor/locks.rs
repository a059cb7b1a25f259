//! A tick and the callers do not stand in each other's way.

use std::time::Duration;

use harness::api::Api;
use serde_json::json;

use crate::support::{of_type, text, turn_on, with_updates};

#[tokio::test]
async fn a_create_does_not_wait_for_a_tick_that_holds_its_flag() {
    let api = Api::start().await;
    let flag = api.flag("a", "production").await;
    let mut holder = api.database.connect().await;
    let tick = holder.transaction().await.unwrap();
    let claim = "select id from feature_flags where id = $1 for no key update";
    tick.query_one(claim, &[&flag]).await.unwrap();

    // Were it to wait, it would wait for the end of this test, and be answered with 503.
    let created = api.create(&api.admin(), "a", "", &turn_on()).await;

    assert_eq!(created.status, 201, "{created:?}");
    tick.rollback().await.unwrap();
}

#[tokio::test]
async fn a_cancel_and_a_tick_at_once_have_one_winner_and_both_tell_the_same_story() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    api.function("cancel-schedule").await;
    api.function("schedule-processor").await;
    let token = api.admin();

    for round in 0..20 {
        let created = api.create(&token, "a", "", &with_updates(&json!({"rollout_percentage": round}))).await;
        let id = text(&created.json, "id").to_owned();
        api.make_due(&id, Duration::from_millis(1)).await;

        let (cancelled, tick) = tokio::join!(api.cancel(&token, "a", &id, ""), api.tick());

        let applied = tick.value()["applied"].as_u64();
        match cancelled.status {
            200 => assert_eq!(applied, Some(0), "round {round}: both won"),
            409 => {
                assert_eq!(cancelled.json["schedule"]["status"], "applied", "round {round}: {cancelled:?}");
                assert_eq!(applied, Some(1), "round {round}: nobody won");
            }
            _ => panic!("round {round}: {cancelled:?}"),
        }
    }

    let events = api.events().await;
    let ends =
        of_type(&events, "flag_schedule.applied").len() + of_type(&events, "flag_schedule.cancelled").len();
    assert_eq!(ends, 20, "each schedule has one end in the trail");
}
