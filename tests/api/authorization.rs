//! Who may do this: admins, however the identity provider spells it, and what the others learn: nothing.

use harness::api::{Api, cancel_request, create_request, list_request};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{FLAG, api_with_flag, assert_problem, but_for_the_request_id, logged, written};
use crate::support::{only, text, turn_on};

#[tokio::test]
async fn who_is_no_admin_is_forbidden_everything_and_learns_nothing() {
    let (api, _) = api_with_flag().await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let id = text(&created.json, "id").to_owned();
    let before = written(&api).await;
    let requests = || {
        [
            create_request(FLAG, "", &turn_on()),
            create_request("nowhere", "", &turn_on()),
            create_request(FLAG, "environment=&x=1", &json!({})),
            create_request(FLAG, "", &turn_on()).body("{"),
            create_request(FLAG, "", &turn_on()).without_header("content-type"),
            list_request(FLAG, ""),
            list_request("nowhere", ""),
            list_request(FLAG, "environment=nowhere"),
            list_request(FLAG, "limit=0"),
            list_request("%ff", ""),
            cancel_request(FLAG, &id, ""),
            cancel_request(FLAG, &Uuid::new_v4().to_string(), ""),
            cancel_request("nowhere", &id, ""),
            cancel_request(FLAG, "no-uuid", ""),
        ]
    };
    let groups = [
        json!([]),
        json!(["staff", "Admin", "admin ", "administrators"]),
        json!("staff"),
        json!("admin,admins"),
        json!("[admin]"),
        json!(["admin,admins"]),
        json!([["admin"]]),
        json!({"admin": true}),
        json!(true),
        json!(null),
    ];
    let mut tokens: Vec<_> = groups
        .iter()
        .map(|groups| (groups.to_string(), api.token().claim("cognito:groups", groups.clone()).sign()))
        .collect();
    tokens.push(("no groups".to_owned(), api.token().without_claim("cognito:groups").sign()));
    tokens
        .push(("another claim".to_owned(), api.token().groups(&[]).claim("groups", json!(["admin"])).sign()));

    let mut answers: Vec<Value> = Vec::new();
    for request in requests() {
        let answer = api.send(&request.clone().bearer(&tokens[0].1)).await;
        assert_problem(&answer, 403, "forbidden", &format!("{request:?}"));
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="insufficient_scope""#));
        answers.push(but_for_the_request_id(&answer));
    }
    for (case, token) in &tokens {
        let answer = api.list(token, FLAG, "").await;
        assert_problem(&answer, 403, "forbidden", case);
        answers.push(but_for_the_request_id(&answer));
    }

    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all: {answers:#?}");
    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn the_claims_that_name_user_and_groups_can_be_chosen() {
    let api = Api::with()
        .env_everywhere("AUTH_USER_ID_CLAIM", Some("username"))
        .env_everywhere("AUTH_GROUPS_CLAIM", Some("https://example.test/roles"))
        .env_everywhere("AUTH_ADMIN_GROUPS", Some(" release managers , ops "))
        .start()
        .await;
    api.flag(FLAG, "production").await;
    let token = || {
        api.token().groups(&[]).claim("username", "zoe").claim("https://example.test/roles", json!(["ops"]))
    };

    let created = api.create(&token().sign(), FLAG, "", &turn_on()).await;
    let managers = token().claim("https://example.test/roles", "release managers").sign();
    let cancelled = api.cancel(&managers, FLAG, text(&created.json, "id"), "").await;

    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.json["created_by"], "zoe");
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(cancelled.json["cancelled_by"], "zoe");
    let events = api.events().await;
    assert_eq!(only(&events, "flag_schedule.created")["actor"]["user_id"], "zoe");

    for (case, token) in [
        ("the usual claim of the groups", api.token().claim("username", "zoe")),
        ("the usual groups", token().claim("https://example.test/roles", json!(["admin", "admins"]))),
        ("the setting as a whole", token().claim("https://example.test/roles", " release managers , ops ")),
        ("no group at all", token().claim("https://example.test/roles", "")),
    ] {
        assert_problem(&api.list(&token.sign(), FLAG, "").await, 403, "forbidden", case);
    }
    let nobody = token().without_claim("username").sign();
    assert_problem(
        &api.list(&nobody, FLAG, "").await,
        401,
        "unauthenticated",
        "sub is not the user's id here",
    );
}

/// Whoever carries the pager is told whom to ask; the caller is not told which rule it was.
#[tokio::test]
async fn every_refusal_is_one_line_with_caller_flag_and_rule() {
    let (api, _) = api_with_flag().await;
    for (token, user_id, rule) in [
        (
            api.token().user("zoe").claim("cognito:groups", json!(["staff"])).sign(),
            json!("zoe"),
            "no group in the claim `cognito:groups` is one of AUTH_ADMIN_GROUPS",
        ),
        (
            api.token().user("zoe").without_claim("cognito:groups").sign(),
            json!("zoe"),
            "there is no claim `cognito:groups`",
        ),
        (
            api.token().without_claim("sub").sign(),
            json!(null),
            "there is no user id: nobody could be held accountable; no `sub`",
        ),
        (
            api.token().without_claim("iat").without_claim("iss").sign(),
            json!(null),
            "the claims lack `exp` or `iat`, or one of them has the wrong type; no `iat`, no `iss`",
        ),
        (
            api.token().claim("exp", json!("soon")).claim("aud", json!(null)).sign(),
            json!(null),
            "the claims lack `exp` or `iat`, or one of them has the wrong type; `exp` has another type, no `aud`",
        ),
        (
            api.token().without_claim("aud").claim("client_id", "other").sign(),
            json!(null),
            "the audience is another",
        ),
        ("no token".to_owned(), json!(null), "the token is not three segments"),
    ] {
        let answer = api.list(&token, FLAG, "environment=staging").await;
        let line = logged(&api, "list-schedules", &answer).await;

        assert!([401, 403].contains(&answer.status), "{answer:?}");
        assert_eq!(line["message"], "the request was refused", "{line:#}");
        assert_eq!(line["cause"], rule, "{line:#}");
        assert_eq!(line["user_id"], user_id, "{line:#}");
        assert_eq!((&line["flag"], &line["environment"]), (&json!(FLAG), &json!("staging")), "{line:#}");
        assert_eq!(line["source_ip"], "203.0.113.7", "{line:#}");
        assert!(!answer.json.to_string().contains(rule), "{answer:?}");
    }

    // And who was admitted but asked for the impossible.
    let zoe = api.token().user("zoe").sign();
    let schedule = Uuid::new_v4().to_string();
    for (function, request, code) in [
        ("cancel-schedule", cancel_request(FLAG, &schedule, ""), "schedule_not_found"),
        ("create-schedule", create_request("nowhere", "", &turn_on()), "flag_not_found"),
        ("create-schedule", create_request(FLAG, "", &json!({})), "invalid_request"),
        ("list-schedules", list_request(FLAG, "limit=0"), "invalid_request"),
    ] {
        let answer = api.send(&request.bearer(&zoe)).await;
        let line = logged(&api, function, &answer).await;

        assert_eq!(line["message"], "the request was refused", "{line:#}");
        assert_eq!((&line["code"], &line["user_id"]), (&json!(code), &json!("zoe")), "{line:#}");
        assert_eq!(line["source_ip"], "203.0.113.7", "{line:#}");
    }
}

#[tokio::test]
async fn admins_of_keycloak_and_machines_with_scopes_are_admitted() {
    let keycloak = Api::with()
        .env_everywhere("AUTH_USER_ID_CLAIM", Some("/user/number"))
        .env_everywhere("AUTH_GROUPS_CLAIM", Some("/realm_access/roles"))
        .env_everywhere("AUTH_ADMIN_GROUPS", Some(r#"["CN=flag-admins,OU=Groups"]"#))
        .start()
        .await;
    let machines = Api::with()
        .env_everywhere("AUTH_GROUPS_CLAIM", Some("scope"))
        .env_everywhere("AUTH_ADMIN_GROUPS", Some("flags/write"))
        .start()
        .await;
    let (person, machine) = (keycloak.token().groups(&[]), machines.token().groups(&[]));
    let person = person.claim("user", json!({"number": 4711}));
    let roles = |roles: Value| person.clone().claim("realm_access", json!({ "roles": roles })).sign();
    for api in [&keycloak, &machines] {
        api.flag(FLAG, "production").await;
    }

    let by_person = keycloak.create(&roles(json!(["CN=flag-admins,OU=Groups"])), FLAG, "", &turn_on()).await;
    let by_machine = machine.clone().claim("scope", "openid flags/write").sign();
    let by_machine = machines.create(&by_machine, FLAG, "", &turn_on()).await;

    assert_eq!(by_person.status, 201, "{by_person:?}");
    assert_eq!(by_person.json["created_by"], "4711");
    assert_eq!(by_machine.status, 201, "{by_machine:?}");
    let staff = keycloak.list(&roles(json!(["OU=Groups"])), FLAG, "").await;
    assert_problem(&staff, 403, "forbidden", "a part of the name");
    let reader = machines.list(&machine.claim("scope", "openid flags/read").sign(), FLAG, "").await;
    assert_problem(&reader, 403, "forbidden", "another scope");
}
