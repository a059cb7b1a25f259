//! One schedule: as it stands, of its own flag and environment only.

use harness::api::Api;
use harness::gateway::Request;
use uuid::Uuid;

use super::{FLAG, api_with_flag, assert_problem, parameters};
use crate::support::{A_MOMENT, text, turn_on};

#[tokio::test]
async fn a_schedule_is_shown_as_it_stands() {
    let (api, _) = api_with_flag().await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let id = text(&created.json, "id").to_owned();

    let pending = api.find(&api.admin(), FLAG, &id, "").await;
    api.make_due(&id, A_MOMENT).await;
    api.tick().await.value();
    let applied = api.find(&api.admin(), FLAG, &id, "").await;

    assert_eq!((pending.status, &pending.json), (200, &created.json));
    assert_eq!((applied.status, text(&applied.json, "status")), (200, "applied"));
    assert_eq!(applied.header("cache-control"), Some("no-store"));
    assert_eq!(api.events().await.len(), 2, "created and applied: reads are not audited");
}

#[tokio::test]
async fn a_schedule_is_found_through_its_own_flag_and_environment_only() {
    let (api, _) = api_with_flag().await;
    api.flag("other", "production").await;
    api.flag(FLAG, "staging").await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let id = text(&created.json, "id");
    let none = Uuid::new_v4().to_string();

    for (flag, id, query, code) in [
        ("other", id, "", "schedule_not_found"),
        (FLAG, id, "environment=staging", "schedule_not_found"),
        (FLAG, &none, "", "schedule_not_found"),
        ("nowhere", id, "", "flag_not_found"),
        (FLAG, id, "environment=nowhere", "flag_not_found"),
    ] {
        let answer = api.find(&api.admin(), flag, id, query).await;
        assert_problem(&answer, 404, code, &format!("{flag} {query}"));
    }
    let bad = api.find(&api.admin(), "", "1", "limit=1").await;
    assert_problem(&bad, 400, "invalid_request", "a bad id");
    assert_eq!(parameters(&bad), ["flagKey", "limit", "scheduleId"]);
    let nobody = api.find(&api.token().groups(&[]).sign(), FLAG, id, "").await;
    assert_problem(&nobody, 403, "forbidden", "no admin");
}

/// One function answers three routes: an event without its path parameters is not taken for another question.
#[tokio::test]
async fn a_path_without_its_parameters_is_told_and_not_guessed() {
    let api = Api::start().await;
    let lost = Request::new("GET", harness::api::SCHEDULES).bearer(&api.admin());

    let answer = api.send(&lost).await;

    assert_problem(&answer, 400, "invalid_request", "no path parameters");
    assert_eq!(parameters(&answer), ["flagKey"]);
}
