//! No space left: a quick 503 or a tick that fails by name, nothing half done, and it works again once there is space.

use harness::api::{Api, create_request};
use harness::postgres::FullDisk;

use super::assert_nothing_left_behind;
use crate::processor::crowd::{assert_done_in_order, assert_untouched, count, fill};
use crate::support::{LIMIT, text, turn_on};

/// A create while there is no space for a table, and its retry with the same key when there is.
async fn a_create_without_space_for(table: &str) {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let client = api.database.connect().await;
    let body = turn_on();
    let request = create_request("a", "", &body).bearer(&api.admin()).header("idempotency-key", "k");
    let full = FullDisk::under(&api.database, table).await;

    for attempt in 0..3 {
        let refused = api.send(&request).await;
        assert_eq!(refused.status, 503, "attempt {attempt}: {refused:?}");
        assert_eq!(refused.json["code"], "service_unavailable", "attempt {attempt}: {refused:?}");
        assert!(refused.header("retry-after").is_some(), "attempt {attempt}: {refused:?}");
    }
    assert_eq!(count(&client, "select count(*) from feature_flags").await, 1);
    let listed = api.list(&api.admin(), "a", "").await;
    full.free(&api.database).await;
    let retried = api.send(&request).await;

    assert_eq!(listed.status, 200, "reading needs no space: {listed:?}");
    assert!(listed.json["schedules"].as_array().is_some_and(Vec::is_empty), "{listed:?}");
    assert_eq!(retried.status, 201, "{retried:?}");
    assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, 1);
    assert_eq!(api.events().await.len(), 1);
    let create = api.function("create-schedule").await;
    let told = create.wait_for_log(|line| line.contains("No space left on device"), LIMIT).await;
    assert!(told.contains("ERROR"), "{told}");
    assert_nothing_left_behind(&api).await;
}

#[tokio::test]
async fn a_create_without_space_for_schedules_is_a_503_until_there_is_space() {
    a_create_without_space_for("feature_flag_schedules").await;
}

#[tokio::test]
async fn a_create_without_space_for_its_event_is_a_503_until_there_is_space() {
    a_create_without_space_for("audit_outbox").await;
}

#[tokio::test]
async fn a_cancel_without_space_for_its_event_cancels_nothing_until_there_is_space() {
    let api = Api::start().await;
    let flag = api.flag("a", "production").await;
    let client = api.database.connect().await;
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        values ($1, now() + interval '1 hour', '{\"enabled\": true}') returning id::text";
    let id: String = client.query_one(sql, &[&flag]).await.unwrap().get(0);
    let full = FullDisk::under(&api.database, "audit_outbox").await;

    let refused = api.cancel(&api.admin(), "a", &id, "").await;
    let listed = api.list(&api.admin(), "a", "").await;
    full.free(&api.database).await;
    let cancelled = api.cancel(&api.admin(), "a", &id, "").await;

    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(text(&listed.json["schedules"][0], "status"), "pending", "{listed:?}");
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(api.events().await.len(), 1);
}

#[tokio::test]
async fn a_tick_without_space_fails_by_name_and_the_next_with_space_does_all() {
    let api = Api::start().await;
    let client = api.database.connect().await;
    fill(&client, 5, 4).await;
    let full = FullDisk::under(&api.database, "audit_outbox").await;

    let failed = api.tick().await.error();
    assert_untouched(&client).await;
    full.free(&api.database).await;
    let next = api.tick().await.value();

    assert_eq!(failed.error_type, "DatabaseUnavailable", "{failed}");
    assert!(failed.message.contains("No space left on device"), "{failed}");
    assert_eq!(next["applied"], 20, "{next:#}");
    assert_done_in_order(&api, &[]).await;
    assert_nothing_left_behind(&api).await;
}
