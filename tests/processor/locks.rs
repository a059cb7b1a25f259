//! A tick and the callers do not stand in each other's way.

use std::time::Duration;

use harness::api::Api;
use serde_json::json;

use crate::support::{A_MOMENT, of_type, text, turn_on, with_updates};

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
async fn a_flag_locked_by_somebody_is_left_for_later_and_all_others_are_done() {
    let api = Api::start().await;
    let locked = api.flag("locked", "production").await;
    api.flag("free", "production").await;
    for key in ["locked", "free"] {
        let created = api.create(&api.admin(), key, "", &turn_on()).await;
        api.make_due(text(&created.json, "id"), A_MOMENT).await;
    }
    let mut somebody = api.database.connect().await;
    let transaction = somebody.transaction().await.unwrap();
    transaction
        .execute("update feature_flags set description = 'mine' where id = $1", &[&locked])
        .await
        .unwrap();

    let first = api.tick().await.value();
    assert_eq!(first["applied"], 1, "{first:#}");
    assert_eq!(first["still_due"], 1, "{first:#}");
    assert_eq!(api.flag_state("free", "production").await, (true, 0));

    transaction.commit().await.unwrap();
    let second = api.tick().await.value();
    assert_eq!(second["applied"], 1, "{second:#}");
    assert_eq!(api.flag_state("locked", "production").await, (true, 0));
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
