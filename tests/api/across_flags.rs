//! Schedules across flags: one environment, one status, any part of time, in either direction.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use harness::api::Api;
use harness::clock;
use serde_json::{Value, json};
use uuid::Uuid;

use super::list::{ids, store};
use super::{assert_problem, parameters};
use crate::support::text;

async fn with_flags() -> (Api, [Uuid; 3]) {
    let api = Api::start().await;
    let flags = [
        api.flag("a", "production").await,
        api.flag("b", "production").await,
        api.flag("a", "staging").await,
    ];
    (api, flags)
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn list(api: &Api, query: &str) -> Value {
    let page = api.list_across_flags(&api.admin(), query).await;
    assert_eq!(page.status, 200, "{query}: {page:?}");
    page.json
}

/// The ids on all pages.
async fn walk(api: &Api, query: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(api, &format!("{query}{cursor}")).await;
        all.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
        assert!(all.len() < 10_000, "the pages do not end");
    }
}

#[tokio::test]
async fn what_is_pending_in_production_is_listed_unless_asked_otherwise() {
    let (api, [a, b, staging]) = with_flags().await;
    let now = clock::now();
    let hours = |hours| now + TimeDelta::hours(hours);
    let second = store(&api, a, hours(2), "pending").await;
    let first = store(&api, b, hours(1), "pending").await;
    let elsewhere = store(&api, staging, hours(1), "pending").await;
    let applied = store(&api, a, hours(-1), "applied").await;

    let page = list(&api, "").await;

    assert_eq!(ids(&page), [first.as_str(), &second]);
    assert_eq!(page["schedules"][0]["flag_key"], "b");
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(ids(&list(&api, "environment=staging").await), [elsewhere]);
    assert_eq!(ids(&list(&api, "status=applied").await), [applied]);
    assert_eq!(list(&api, "environment=nowhere").await, json!({"schedules": [], "next_cursor": null}));
    let one = api.find(&api.admin(), "b", &first, "").await;
    assert_eq!(page["schedules"][0], one.json, "as the schedule itself");
}

#[tokio::test]
async fn from_is_inclusive_and_to_is_not() {
    let (api, [a, ..]) = with_flags().await;
    let noon = DateTime::from_timestamp_millis(clock::now().timestamp_millis() + 86_400_000).unwrap();
    let mut stored = Vec::new();
    for seconds in [0, 1, 2] {
        stored.push(store(&api, a, noon + TimeDelta::seconds(seconds), "pending").await);
    }
    let at = |seconds| written(noon + TimeDelta::seconds(seconds));

    assert_eq!(ids(&list(&api, &format!("from={}&to={}", at(1), at(2))).await), [stored[1].as_str()]);
    assert_eq!(ids(&list(&api, &format!("from={}", at(1))).await), stored[1..]);
    assert_eq!(ids(&list(&api, &format!("to={}", at(1))).await), stored[..1]);
    let ancient = store(&api, a, noon, "pending").await;
    let sql = "update feature_flag_schedules set scheduled_at = '-infinity' where id = $1::text::uuid";
    api.database.connect().await.execute(sql, &[&ancient]).await.unwrap();
    let shown = ids(&list(&api, "from=0001-01-01T00:00:00Z&to=0001-01-01T00:00:00.001Z").await);
    assert_eq!(shown, [ancient], "as old as can be said, and as it is shown");
    let in_delhi = at(1).replace('Z', "%2B00:00");
    assert_eq!(ids(&list(&api, &format!("from={in_delhi}")).await), stored[1..]);
}

#[tokio::test]
async fn pages_show_each_schedule_exactly_once_in_either_direction() {
    let (api, [a, b, staging]) = with_flags().await;
    let noon = clock::now() + TimeDelta::days(1);
    let mut expected = Vec::new();
    for (index, flag) in [a, b, a, b, a, b, staging].into_iter().enumerate() {
        // Two at each moment, and one of the years that RFC 3339 has no word for.
        let at = noon + TimeDelta::seconds(i64::try_from(index / 2).unwrap());
        let id = store(&api, flag, at, "pending").await;
        if flag != staging {
            expected.push((at, id));
        }
    }
    let infinite = store(&api, a, noon, "pending").await;
    let sql = "update feature_flag_schedules set scheduled_at = 'infinity' where id = $1::text::uuid";
    api.database.connect().await.execute(sql, &[&infinite]).await.unwrap();
    expected.sort();
    let mut expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
    expected.push(infinite);

    for limit in [1, 2, 3, 7, 200] {
        assert_eq!(walk(&api, &format!("limit={limit}")).await, expected, "limit {limit}");
        let mut backwards = walk(&api, &format!("order=desc&limit={limit}")).await;
        backwards.reverse();
        assert_eq!(backwards, expected, "limit {limit}, descending");
    }
}

/// Another environment with many schedules in between makes pages short; they lead to the end all the same.
#[tokio::test]
async fn pages_get_past_any_number_of_schedules_of_another_environment() {
    let (api, [a, _, staging]) = with_flags().await;
    let fill = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        select $1, now() + make_interval(hours => 1, secs => n), '{\"enabled\": true}' from generate_series(1, 12000) n";
    api.database.connect().await.execute(fill, &[&a]).await.unwrap();
    let at = |seconds| clock::now() + TimeDelta::hours(1) + TimeDelta::seconds(seconds);
    let mut expected = Vec::new();
    for seconds in [-60, 6_000, 20_000] {
        expected.push(store(&api, staging, at(seconds), "pending").await);
    }

    let page = list(&api, "environment=staging").await;

    assert_eq!(ids(&page), expected[..1]);
    assert!(page["next_cursor"].is_string(), "it goes on: {page:#}");
    assert_eq!(walk(&api, "environment=staging").await, expected);
    let mut backwards = walk(&api, "environment=staging&order=desc").await;
    backwards.reverse();
    assert_eq!(backwards, expected);
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_refused_with_every_fault() {
    let (api, _) = with_flags().await;
    let time = written(clock::now());

    let wrong =
        "environment=&status=done&from=yesterday&to=2026-13-01T00:00:00Z&order=up&limit=0&cursor=x&flag=a";
    let refused = api.list_across_flags(&api.admin(), wrong).await;

    assert_problem(&refused, 400, "invalid_request", wrong);
    assert_eq!(parameters(&refused), ["environment", "flag", "from", "limit", "order", "status", "to"]);
    let empty = format!("from={time}&to={time}");
    let refused = api.list_across_flags(&api.admin(), &empty).await;
    assert_eq!(parameters(&refused), ["to"], "{refused:?}");
    let plus = "from=2026-02-09T09:00:00+01:00";
    let refused = api.list_across_flags(&api.admin(), plus).await;
    assert!(text(&refused.json["errors"][0], "detail").ends_with("write `+` as `%2B`"), "{refused:?}");
    assert_problem(&api.list_across_flags("", "").await, 401, "unauthenticated", "no token");
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_question_only() {
    let (api, [a, ..]) = with_flags().await;
    for hours in [1, 2] {
        store(&api, a, clock::now() + TimeDelta::hours(hours), "pending").await;
    }
    let page = list(&api, "limit=1").await;
    let cursor = text(&page, "next_cursor");

    for other in ["status=applied", "order=desc", "environment=staging", "from=2026-01-01T00:00:00Z"] {
        let refused = api.list_across_flags(&api.admin(), &format!("{other}&cursor={cursor}")).await;
        assert_eq!((refused.status, parameters(&refused)), (400, vec!["cursor"]), "{other}: {refused:?}");
    }
    let of_the_flag = api.list(&api.admin(), "a", &format!("cursor={cursor}")).await;
    assert_eq!(parameters(&of_the_flag), ["cursor"], "{of_the_flag:?}");
    assert_eq!(
        list(&api, &format!("cursor={cursor}&limit=200")).await["schedules"].as_array().unwrap().len(),
        1
    );
}
