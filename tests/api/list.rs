//! Listing a flag's schedules: what is on a page, in which order, and which questions are refused.

use chrono::{DateTime, TimeDelta, Utc};
use harness::api::Api;
use harness::clock;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{FLAG, KEYS, api_with_flag, assert_problem, parameters};
use crate::support::{text, turn_on};

/// Stores a schedule as a row of its own, at any time and in any status.
pub async fn store(api: &Api, flag: Uuid, scheduled_at: DateTime<Utc>, status: &str) -> String {
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, status, updates)
               values ($1, $2, $3, '{\"enabled\": true}') returning id";
    let row = api.database.connect().await.query_one(sql, &[&flag, &scheduled_at, &status]).await;
    row.unwrap_or_else(|error| panic!("no schedule: {error}")).get::<_, Uuid>(0).to_string()
}

/// The ids on a page.
pub fn ids(page: &Value) -> Vec<String> {
    let schedules = page["schedules"].as_array().unwrap_or_else(|| panic!("not a page: {page:#}"));
    schedules.iter().map(|schedule| text(schedule, "id").to_owned()).collect()
}

#[tokio::test]
async fn a_list_shows_each_schedule_as_it_was_answered() {
    let (api, _) = api_with_flag().await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let cancelled = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let cancelled = api.cancel(&api.admin(), FLAG, text(&cancelled.json, "id"), "reason=not%20yet").await;

    let page = api.list(&api.admin(), FLAG, "").await;

    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.header("content-type"), Some("application/json"));
    let keys: Vec<_> = page.json.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["next_cursor", "schedules"]);
    assert_eq!(page.json["schedules"], json!([created.json, cancelled.json]));
    assert!(api.events().await.iter().all(|event| event["event_type"] != "flag_schedule.listed"));
    assert_eq!(api.events().await.len(), 3, "two creates and a cancel: reads are not audited");
}

#[tokio::test]
async fn a_list_is_ordered_by_time_and_at_one_time_by_id() {
    let (api, flag) = api_with_flag().await;
    let noon = clock::now() + TimeDelta::days(1);
    let mut at_noon = Vec::new();
    let late = store(&api, flag, noon + TimeDelta::microseconds(1), "pending").await;
    for _ in 0..5 {
        at_noon.push(store(&api, flag, noon, "pending").await);
    }
    let early = store(&api, flag, noon - TimeDelta::days(400), "applied").await;

    let page = api.list(&api.admin(), FLAG, "").await;

    at_noon.sort();
    let expected: Vec<_> = [vec![early], at_noon, vec![late]].concat();
    assert_eq!(ids(&page.json), expected);
}

#[tokio::test]
async fn a_page_has_50_schedules_unless_asked_for_1_to_200() {
    let (api, flag) = api_with_flag().await;
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
               select $1, now() + make_interval(secs => i), '{\"enabled\": true}' from generate_series(1, 201) i";
    api.database.connect().await.execute(sql, &[&flag]).await.expect("rows are stored");

    for (query, expected) in
        [("", 50), ("limit=1", 1), ("limit=50", 50), ("limit=200", 200), ("limit=007", 7)]
    {
        let page = api.list(&api.admin(), FLAG, query).await;
        assert_eq!(ids(&page.json).len(), expected, "{query}");
        assert!(page.json["next_cursor"].is_string(), "{query}: there is more");
    }
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=%2B5",
        "limit=5.0",
        "limit=abc",
        "limit=",
        "limit",
        "limit=1e1",
        "limit=99999999999999999999",
        "limit=%D9%A5",
    ] {
        let answer = api.list(&api.admin(), FLAG, query).await;
        assert_problem(&answer, 400, "invalid_request", query);
        assert_eq!(parameters(&answer), ["limit"], "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn a_list_can_be_narrowed_to_one_status() {
    let (api, flag) = api_with_flag().await;
    let time = clock::now();
    let mut by_status = Vec::new();
    for status in ["pending", "applied", "failed", "cancelled"] {
        let earlier = store(&api, flag, time, status).await;
        by_status.push((status, vec![earlier, store(&api, flag, time + TimeDelta::hours(1), status).await]));
    }

    for (status, expected) in by_status {
        let page = api.list(&api.admin(), FLAG, &format!("status={status}")).await;

        assert_eq!(ids(&page.json), expected, "{status}");
        for schedule in page.json["schedules"].as_array().into_iter().flatten() {
            assert_eq!(schedule["status"], status);
            let keys: Vec<_> =
                schedule.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, KEYS, "{schedule:#}");
        }
    }
    for query in
        ["status=", "status=done", "status=Pending", "status=pending,failed", "status=%00", "status=%ff"]
    {
        let answer = api.list(&api.admin(), FLAG, query).await;
        assert_problem(&answer, 400, "invalid_request", query);
        assert_eq!(parameters(&answer), ["status"], "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_question_is_told_at_once() {
    let (api, _) = api_with_flag().await;

    let answer = api.list(&api.admin(), "", "environment=&status=x&limit=0&page=2").await;

    assert_problem(&answer, 400, "invalid_request", "all at once");
    assert_eq!(parameters(&answer), ["environment", "flagKey", "limit", "page", "status"], "{answer:?}");
}

#[tokio::test]
async fn a_flag_without_schedules_has_an_empty_list_and_no_flag_has_none() {
    let (api, _) = api_with_flag().await;

    let empty = api.list(&api.admin(), FLAG, "").await;
    let filtered = api.list(&api.admin(), FLAG, "status=failed&limit=1").await;
    let nowhere = api.list(&api.admin(), "nowhere", "").await;
    let elsewhere = api.list(&api.admin(), FLAG, "environment=staging").await;

    assert_eq!((empty.status, &empty.json), (200, &json!({"schedules": [], "next_cursor": null})));
    assert_eq!((filtered.status, &filtered.json), (200, &empty.json));
    assert_problem(&nowhere, 404, "flag_not_found", "another key");
    assert_problem(&elsewhere, 404, "flag_not_found", "another environment");
}
