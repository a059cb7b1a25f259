//! From page to page: each schedule once, in order, and no cursor that was made for something else.

use chrono::TimeDelta;
use harness::api::Api;
use harness::clock;
use serde_json::Value;

use super::list::{ids, store};
use super::{FLAG, api_with_flag, assert_problem, parameters};

/// The ids on each page from the first to the last.
async fn walk(api: &Api, query: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.list(&api.admin(), FLAG, &format!("{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{query}{cursor}: {page:?}");
        pages.push(ids(&page.json));
        assert!(pages.len() < 100, "the pages do not end: {pages:?}");
        match &page.json["next_cursor"] {
            Value::Null => return pages,
            Value::String(next) => cursor = format!("&cursor={next}"),
            other => panic!("not a cursor: {other}"),
        }
    }
}

fn sizes(pages: &[Vec<String>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

#[tokio::test]
async fn pages_show_each_schedule_exactly_once_and_in_order() {
    let (api, flag) = api_with_flag().await;
    // Some at one time, some within one millisecond, which answers cannot tell apart but cursors must.
    let time = clock::now() + TimeDelta::days(1);
    let mut expected = Vec::new();
    for micros in [0, 0, 0, 1, 2, 999, 86_400_000_000] {
        expected.push((micros, store(&api, flag, time + TimeDelta::microseconds(micros), "pending").await));
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();

    for (limit, expected_sizes) in [
        (1, vec![1; 7]),
        (2, vec![2, 2, 2, 1]),
        (3, vec![3, 3, 1]),
        (6, vec![6, 1]),
        (7, vec![7]),
        (8, vec![7]),
    ] {
        let pages = walk(&api, &format!("limit={limit}")).await;

        assert_eq!(sizes(&pages), expected_sizes, "limit {limit}: a page that is full by chance has no next");
        assert_eq!(pages.concat(), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn pages_of_one_status_show_that_status_only() {
    let (api, flag) = api_with_flag().await;
    let time = clock::now();
    let mut expected = Vec::new();
    for hour in 0..5 {
        store(&api, flag, time + TimeDelta::hours(hour), "cancelled").await;
        expected.push(store(&api, flag, time + TimeDelta::hours(hour), "failed").await);
        store(&api, flag, time + TimeDelta::hours(hour), "pending").await;
    }

    let pages = walk(&api, "status=failed&limit=2").await;

    assert_eq!(sizes(&pages), [2, 2, 1]);
    assert_eq!(pages.concat(), expected);
}

#[tokio::test]
async fn a_cursor_goes_on_after_its_schedule_even_when_that_is_gone() {
    let (api, flag) = api_with_flag().await;
    let time = clock::now() + TimeDelta::days(1);
    let mut ids_in_order = Vec::new();
    for hour in [0, 1, 3] {
        ids_in_order.push(store(&api, flag, time + TimeDelta::hours(hour), "pending").await);
    }
    let first = api.list(&api.admin(), FLAG, "limit=2").await;
    let cursor = first.json["next_cursor"].as_str().expect("there is more").to_owned();

    let client = api.database.connect().await;
    client
        .execute(
            "delete from feature_flag_schedules where id::text = any($1)",
            &[&ids_in_order[..2].to_vec()],
        )
        .await
        .unwrap();
    let between = store(&api, flag, time + TimeDelta::hours(2), "pending").await;
    store(&api, flag, time - TimeDelta::hours(1), "pending").await;
    let second = api.list(&api.admin(), FLAG, &format!("limit=2&cursor={cursor}")).await;

    assert_eq!(ids(&second.json), [between, ids_in_order[2].clone()], "what came before is not shown again");
    assert_eq!(second.json["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_cursor_is_opaque_and_good_for_its_own_question_only() {
    let (api, flag) = api_with_flag().await;
    let (staging, other) = (api.flag(FLAG, "staging").await, api.flag("other", "production").await);
    for flag in [flag, staging, other] {
        for hour in 0..3 {
            store(&api, flag, clock::now() + TimeDelta::hours(hour), "pending").await;
        }
    }
    let page = api.list(&api.admin(), FLAG, "limit=1").await;
    let cursor = page.json["next_cursor"].as_str().expect("there is more").to_owned();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{cursor}");

    let flipped = |index: usize| {
        let other = if cursor.as_bytes()[index] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &cursor[..index], &cursor[index + 1..])
    };
    let half = cursor.len() / 2;
    let cases = [
        ("other", format!("cursor={cursor}")),
        (FLAG, format!("environment=staging&cursor={cursor}")),
        (FLAG, format!("status=pending&cursor={cursor}")),
        (FLAG, format!("cursor={}", flipped(0))),
        (FLAG, format!("cursor={}", flipped(half))),
        (FLAG, format!("cursor={}", flipped(cursor.len() - 1))),
        (FLAG, format!("cursor={}", &cursor[..half])),
        (FLAG, format!("cursor={cursor}A")),
        (FLAG, format!("cursor={cursor}%3D")),
        (FLAG, format!("cursor={cursor}%00")),
        (FLAG, "cursor=".to_owned()),
        (FLAG, "cursor=1".to_owned()),
        (FLAG, "cursor='%20or%201=1".to_owned()),
        (FLAG, format!("cursor={}", "A".repeat(10 * 1024))),
        (FLAG, "cursor=%ff".to_owned()),
    ];
    for (flag, query) in cases {
        let answer = api.list(&api.admin(), flag, &query).await;

        assert_problem(&answer, 400, "invalid_request", &query);
        assert_eq!(parameters(&answer), ["cursor"], "{query}: {answer:?}");
    }

    // Neither the page size nor the spelling of the default environment is part of the question.
    let query = format!("limit=2&environment=production&cursor={cursor}");
    let next = api.list(&api.admin(), FLAG, &query).await;
    assert_eq!(next.status, 200, "{next:?}");
    assert_eq!(ids(&next.json).len(), 2);
}
