//! A flag that its owner deletes while the service works on it.

use std::time::Instant;

use harness::api::{Api, tick_event};
use tokio_postgres::Client;

use super::crowd::{count, fill};
use super::held::Held;
use crate::support::{LIMIT, of_type, turn_on};

/// Waits until a statement of this kind waits for a lock.
async fn waits(client: &Client, statement: &str) {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = current_database()
            and wait_event_type = 'Lock' and query like '%{statement}%' and pid <> pg_backend_pid()"
    );
    let deadline = Instant::now() + LIMIT;
    while count(client, &sql).await == 0 {
        assert!(Instant::now() < deadline, "no {statement} waits for a lock");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flag_deleted_between_claim_and_write_goes_after_its_change_and_the_trail_tells_of_it() {
    let api = Api::start().await;
    let client = api.database.connect().await;
    fill(&client, 3, 2).await;
    let held = Held::after(&api.database, 0).await;
    let processor = api.function("schedule-processor").await;
    let owner = api.database.connect().await;

    let deleting =
        async { owner.execute("delete from feature_flags where flag_key = 'flag-2'", &[]).await.unwrap() };
    let deleted = async {
        held.up().await;
        let letting_go = async {
            waits(&client, "delete from feature_flags").await;
            held.release().await;
        };
        tokio::join!(deleting, letting_go).0
    };
    let tick = tick_event();
    let (report, deleted) = tokio::join!(processor.invoke(&tick), deleted);
    let report = report.value();

    assert_eq!(deleted, 1, "the delete waits for the tick, and is not lost");
    assert_eq!(report["applied"], 6, "{report:#}");
    assert_eq!(of_type(&api.events().await, "flag_schedule.applied").len(), 6);
    assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, 4);
    let next = api.tick().await.value();
    assert_eq!((&next["applied"], &next["still_due"]), (&0.into(), &0.into()), "{next:#}");
}

#[tokio::test]
async fn a_flag_whose_deletion_is_under_way_is_left_alone_and_all_others_are_done() {
    let api = Api::start().await;
    let client = api.database.connect().await;
    fill(&client, 3, 2).await;
    let mut owner = api.database.connect().await;
    let deletion = owner.transaction().await.unwrap();
    deletion.execute("delete from feature_flags where flag_key = 'flag-2'", &[]).await.unwrap();

    let during = api.tick().await.value();
    deletion.commit().await.unwrap();
    let after = api.tick().await.value();

    assert_eq!((&during["applied"], &during["still_due"]), (&4.into(), &2.into()), "{during:#}");
    assert_eq!((&after["applied"], &after["still_due"]), (&0.into(), &0.into()), "{after:#}");
    let events = api.events().await;
    assert!(events.iter().all(|event| event["flag_key"] != "flag-2"), "{events:#?}");
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_create_that_meets_the_deletion_of_its_flag_is_answered_with_404() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let mut owner = api.database.connect().await;
    let deletion = owner.transaction().await.unwrap();
    deletion.execute("delete from feature_flags", &[]).await.unwrap();
    let client = api.database.connect().await;

    let deleting = async {
        waits(&client, "insert into feature_flag_schedules").await;
        deletion.commit().await.unwrap();
    };
    let (token, body) = (api.admin(), turn_on());
    let (created, ()) = tokio::join!(api.create(&token, "a", "", &body), deleting);

    assert_eq!(created.status, 404, "{created:?}");
    assert_eq!(created.json["code"], "flag_not_found");
    assert!(api.events().await.is_empty());
}
