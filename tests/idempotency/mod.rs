//! `Idempotency-Key`: a retry of a create has one effect, whatever came between.

use std::time::Duration;

use harness::api::{Api, create_request};
use harness::gateway::Response;
use serde_json::{Value, json};

use crate::support::{of_type, text, turn_on, with_updates};

async fn create(api: &Api, token: &str, key: &str, body: &Value) -> Response {
    api.send(&create_request("a", "", body).bearer(token).header("idempotency-key", key)).await
}

#[tokio::test]
async fn a_retry_gives_the_same_schedule_as_it_now_stands_and_no_second_event() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let body = turn_on();

    let first = create(&api, &token, "key 1", &body).await;
    let second = create(&api, &token, "key 1", &body).await;
    let id = text(&first.json, "id").to_owned();
    api.make_due(&id, Duration::from_secs(1)).await;
    api.tick().await.value();

    assert_eq!((first.status, second.status), (201, 200), "{second:?}");
    assert_eq!(second.json, first.json);
    let events = api.events().await;
    assert_eq!(of_type(&events, "flag_schedule.created").len(), 1, "{events:#?}");
}

#[tokio::test]
async fn a_retry_is_a_replay_even_after_the_time_of_the_change_has_passed() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let body = turn_on();
    let first = create(&api, &token, "k", &body).await;
    let past = "2020-01-01T00:00:00.000Z";
    let client = api.database.connect().await;
    let sql = "update feature_flag_schedules set scheduled_at = '2020-01-01T00:00:00Z', status = 'applied'";
    client.execute(sql, &[]).await.unwrap();

    let late = create(&api, &token, "k", &json!({"scheduled_at": past, "updates": {"enabled": true}})).await;
    let without =
        api.create(&token, "a", "", &json!({"scheduled_at": past, "updates": {"enabled": true}})).await;
    let other =
        create(&api, &token, "new", &json!({"scheduled_at": past, "updates": {"enabled": true}})).await;

    assert_eq!(late.status, 200, "{late:?}");
    assert_eq!(late.json["id"], first.json["id"]);
    assert_eq!(late.json["status"], "applied");
    assert_eq!((without.status, other.status), (400, 400), "a new schedule in the past is still refused");
    assert_eq!(other.json["errors"][0]["pointer"], "/scheduled_at");
}

#[tokio::test]
async fn a_key_belongs_to_one_admin_one_flag_and_one_body() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    api.flag("a", "staging").await;
    let (anna, ben) = (api.token().user("anna").sign(), api.token().user("ben").sign());
    let body = turn_on();
    let first = create(&api, &anna, "k", &body).await;

    let of_ben = create(&api, &ben, "k", &body).await;
    let staging = api
        .send(&create_request("a", "environment=staging", &body).bearer(&anna).header("idempotency-key", "k"))
        .await;
    let other_body = create(&api, &anna, "k", &with_updates(&json!({"enabled": false}))).await;
    let mut spelled = body.clone();
    spelled["scheduled_at"] = text(&body, "scheduled_at").replace('Z', "+00:00").into();
    let same = create(&api, &anna, "k", &spelled).await;

    assert_eq!((first.status, of_ben.status, staging.status), (201, 201, 201));
    assert_eq!(other_body.status, 422, "{other_body:?}");
    assert_eq!(other_body.json["code"], "idempotency_key_reused");
    assert_eq!(same.status, 200, "bodies are compared after parsing: {same:?}");
    assert_eq!(api.events().await.len(), 3);
}

#[tokio::test]
async fn a_bad_key_is_refused_by_name() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();

    for key in ["", "é", &"x".repeat(129)] {
        let refused = create(&api, &token, key, &turn_on()).await;
        assert_eq!(refused.status, 400, "{key:?}: {refused:?}");
        assert_eq!(refused.json["errors"][0]["header"], "Idempotency-Key", "{key:?}: {refused:?}");
    }
    assert_eq!(create(&api, &token, &"x".repeat(128), &turn_on()).await.status, 201);
}

#[tokio::test]
async fn fifty_at_once_with_one_key_are_one_schedule_and_one_event() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let body = turn_on();
    let request = create_request("a", "", &body).bearer(&api.admin()).header("idempotency-key", "k");
    let mut functions = Vec::new();
    for _ in 0..10 {
        functions.push(api.another("create-schedule").await);
    }

    // Ten instances, five requests each, all at the same time.
    let event = request.event();
    let calls = functions.iter().flat_map(|function| (0..5).map(|_| function.invoke(&event)));
    let answers: Vec<_> = futures_util::future::join_all(calls).await.into_iter().map(Response::of).collect();
    for function in &functions {
        function.settled(crate::support::LIMIT).await;
    }

    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let replayed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((created, replayed), (1, 49), "{answers:#?}");
    assert!(answers.iter().all(|answer| answer.json == answers[0].json));
    let rows: i64 = api
        .database
        .connect()
        .await
        .query_one("select count(*) from feature_flag_schedules", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(rows, 1);
    assert_eq!(api.events().await.len(), 1);
}
