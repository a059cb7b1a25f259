//! Cancelling a schedule: only a pending one, only through its own flag, and only once.

use harness::api::cancel_request;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{FLAG, api_with_flag, assert_problem, parameters, pointers, written};
use crate::support::{A_MOMENT, only, text, turn_on};

#[tokio::test]
async fn a_second_cancel_is_told_of_the_first_and_changes_nothing() {
    let (api, _) = api_with_flag().await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let id = text(&created.json, "id");

    let first = api.cancel(&api.admin(), FLAG, id, "reason=not%20yet").await;
    let after_the_first = written(&api).await;
    let second = api.cancel(&api.token().user("ben").sign(), FLAG, id, "reason=me%20too").await;

    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.header("content-type"), Some("application/json"));
    let mut expected = created.json.clone();
    expected["status"] = json!("cancelled");
    expected["cancelled_by"] = json!("admin-1");
    expected["cancel_reason"] = json!("not yet");
    expected["cancelled_at"] = first.json["cancelled_at"].clone();
    assert_eq!(first.json, expected, "nothing else changes");
    assert!(text(&first.json, "cancelled_at").ends_with('Z'), "{first:?}");
    assert_problem(&second, 409, "schedule_not_pending", "the second cancel");
    assert_eq!(second.json["schedule"], first.json);
    assert_eq!(written(&api).await, after_the_first);
}

#[tokio::test]
async fn what_has_been_applied_or_has_failed_cannot_be_cancelled() {
    let (api, _) = api_with_flag().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
        ids.push(text(&created.json, "id").to_owned());
        api.make_due(&ids[ids.len() - 1], A_MOMENT).await;
    }
    let spoil = "update feature_flag_schedules set updates = '{\"colour\": \"red\"}' where id = $1";
    let failing: Uuid = ids[1].parse().expect("a UUID");
    api.database.connect().await.execute(spoil, &[&failing]).await.unwrap();
    let report = api.tick().await.value();
    assert_eq!((&report["applied"], &report["failed_invalid_updates"]), (&json!(1), &json!(1)), "{report:#}");
    let before = written(&api).await;

    let applied = api.cancel(&api.admin(), FLAG, &ids[0], "reason=too%20late").await;
    let failed = api.cancel(&api.admin(), FLAG, &ids[1], "").await;

    assert_problem(&applied, 409, "schedule_not_pending", "applied");
    assert_eq!(applied.json["schedule"]["status"], "applied");
    assert!(applied.json["schedule"]["applied_at"].is_string(), "{applied:?}");
    assert_eq!(applied.json["schedule"]["cancel_reason"], Value::Null);
    assert_problem(&failed, 409, "schedule_not_pending", "failed");
    assert_eq!(failed.json["schedule"]["status"], "failed");
    assert_eq!(failed.json["schedule"]["error_code"], "invalid_updates");
    assert_eq!(failed.json["schedule"]["updates"], json!({"colour": "red"}), "shown as it is stored");
    assert!(failed.json["schedule"]["failed_at"].is_string(), "{failed:?}");
    assert_eq!(written(&api).await, before);
    let page = api.list(&api.admin(), FLAG, "").await;
    assert_eq!(page.json["schedules"], json!([applied.json["schedule"], failed.json["schedule"]]));
}

#[tokio::test]
async fn a_schedule_can_be_cancelled_through_its_own_flag_only() {
    let (api, _) = api_with_flag().await;
    api.flag(FLAG, "staging").await;
    api.flag("other", "production").await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let id = text(&created.json, "id");
    let before = written(&api).await;

    let cases = [
        ("other", id.to_owned(), "", "schedule_not_found"),
        (FLAG, id.to_owned(), "environment=staging", "schedule_not_found"),
        (FLAG, Uuid::new_v4().to_string(), "", "schedule_not_found"),
        (FLAG, Uuid::nil().to_string(), "", "schedule_not_found"),
        ("nowhere", id.to_owned(), "", "flag_not_found"),
        (FLAG, id.to_owned(), "environment=nowhere", "flag_not_found"),
    ];
    for (flag, id, query, code) in cases {
        let answer = api.cancel(&api.admin(), flag, &id, query).await;

        assert_problem(&answer, 404, code, &format!("{flag}/{id}?{query}"));
        assert_eq!(answer.json.get("schedule"), None, "{answer:?}");
    }

    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn an_id_that_is_no_uuid_is_refused_even_where_the_flag_is_unknown() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let id = Uuid::new_v4();
    let bad = [
        String::new(),
        "1".to_owned(),
        "..".to_owned(),
        id.simple().to_string(),
        id.braced().to_string(),
        id.urn().to_string(),
        format!("{id}%0A"),
        format!("{id}%00"),
        format!(" {id}"),
        format!("{}g", &id.to_string()[..35]),
        id.to_string().replace('-', "_"),
        "%ff".to_owned(),
        "' or 1=1 --".to_owned(),
        "a".repeat(10 * 1024),
    ];

    for id in bad {
        for flag in [FLAG, "nowhere"] {
            let answer = api.cancel(&api.admin(), flag, &id, "").await;

            assert_problem(&answer, 400, "invalid_request", &id);
            assert_eq!(parameters(&answer), ["scheduleId"], "{id}: {answer:?}");
        }
    }

    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn a_reason_for_a_cancel_has_the_limits_of_any_reason_and_is_stored_as_typed() {
    let (api, _) = api_with_flag().await;
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    let before = written(&api).await;

    for reason in ["x".repeat(501), "%C3%A9".repeat(501), "a%00b".to_owned(), "%ff".to_owned()] {
        let query = format!("reason={reason}");
        let answer = api.cancel(&api.admin(), FLAG, text(&created.json, "id"), &query).await;
        assert_problem(&answer, 400, "invalid_request", &query);
        assert_eq!(parameters(&answer), ["reason"], "{query}: {answer:?}");
    }
    assert_eq!(written(&api).await, before);

    let longest = "%C3%A9".repeat(500);
    let cases = [
        ("reason=a+b%2Bc%26d%3D1", "a b+c&d=1".to_owned()),
        ("reason=line%0D%0A%E2%80%AE';--%20%22", "line\r\n\u{202e}';-- \"".to_owned()),
        ("reason=a=b", "a=b".to_owned()),
        ("reason=", String::new()),
        (&format!("reason={longest}"), "é".repeat(500)),
    ];
    for (query, reason) in cases {
        let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
        let cancelled = api.cancel(&api.admin(), FLAG, text(&created.json, "id"), query).await;

        assert_eq!(cancelled.status, 200, "{query}: {cancelled:?}");
        assert_eq!(cancelled.json["cancel_reason"], reason.as_str(), "{query}");
        let mut events = api.events().await;
        events.retain(|event| event["schedule_id"] == created.json["id"]);
        assert_eq!(only(&events, "flag_schedule.cancelled")["cancel_reason"], reason.as_str());
    }
}

#[tokio::test]
async fn a_reason_for_a_cancel_may_be_in_a_body() {
    let (api, _) = api_with_flag().await;
    let admin = api.admin();
    let longest = "é".repeat(500);
    let cases = [
        ("", json!({"reason": "late"}), json!("late")),
        ("", json!({"reason": "a\r\nb\u{1f680}"}), json!("a\r\nb\u{1f680}")),
        ("", json!({"reason": ""}), json!("")),
        ("", json!({"reason": longest}), json!(longest)),
        ("", json!({"reason": null}), json!(null)),
        ("", json!({}), json!(null)),
        ("reason=in+the+query", json!({}), json!("in the query")),
        ("reason=in+the+query", json!({"reason": null}), json!("in the query")),
        ("environment=production", json!({"reason": "late"}), json!("late")),
    ];

    for (query, body, expected) in cases {
        let created = api.create(&admin, FLAG, "", &turn_on()).await;
        let request = cancel_request(FLAG, text(&created.json, "id"), query).json(&body);
        let cancelled = api.send(&request.bearer(&admin)).await;

        assert_eq!(cancelled.status, 200, "{query} {body}: {cancelled:?}");
        assert_eq!(cancelled.json["cancel_reason"], expected, "{query} {body}");
    }
    // No body needs no content type, and an empty one is none.
    for content_type in [None, Some("text/plain"), Some("application/json")] {
        let created = api.create(&admin, FLAG, "", &turn_on()).await;
        let request = cancel_request(FLAG, text(&created.json, "id"), "").body("");
        let request =
            content_type.into_iter().fold(request, |request, of| request.header("content-type", of));
        let cancelled = api.send(&request.bearer(&admin)).await;
        assert_eq!(cancelled.status, 200, "{content_type:?}: {cancelled:?}");
    }
}

#[tokio::test]
async fn a_body_of_a_cancel_keeps_the_rules_of_any_body() {
    let (api, _) = api_with_flag().await;
    let admin = api.admin();
    let created = api.create(&admin, FLAG, "", &turn_on()).await;
    let id = text(&created.json, "id");
    let before = written(&api).await;
    let typed = |content_type: &str, body: &str| {
        cancel_request(FLAG, id, "").header("content-type", content_type).body(body).bearer(&admin)
    };
    let json_text = |body: &str| typed("application/json", body);
    let broken = [
        (typed("text/plain", r#"{"reason": "late"}"#), 415, "unsupported_media_type"),
        (cancel_request(FLAG, id, "").body("{}").bearer(&admin), 415, "unsupported_media_type"),
        (json_text(&format!("{{}}{}", " ".repeat(16 * 1024))), 413, "body_too_large"),
        (json_text(" "), 400, "invalid_json"),
        (json_text("reason=late"), 400, "invalid_json"),
        (json_text(r#"{"reason": "a", "reason": "a"}"#), 400, "invalid_json"),
        (json_text(r#"{"reason": "a", "re\u0061son": "a"}"#), 400, "invalid_json"),
    ];
    let long = json!({"reason": "é".repeat(501)});
    let refused = [
        ("", json!([]), vec![""], vec![]),
        ("", json!(null), vec![""], vec![]),
        ("", json!("late"), vec![""], vec![]),
        ("", json!({"reason": 1}), vec!["/reason"], vec![]),
        ("", json!({"reason": {"text": "late"}}), vec!["/reason"], vec![]),
        ("", json!({"reason": "a\0b"}), vec!["/reason"], vec![]),
        ("", long, vec!["/reason"], vec![]),
        ("", json!({"reason": "late", "why": "x", "status": "applied"}), vec!["/status", "/why"], vec![]),
        ("reason=late", json!({"reason": "late"}), vec![], vec!["reason"]),
        ("reason=", json!({"reason": ""}), vec![], vec!["reason"]),
        ("reason=late", json!({"reason": "other"}), vec![], vec!["reason"]),
        ("reason=late&limit=1", json!({"Reason": 1}), vec!["/Reason"], vec!["limit"]),
    ];

    for (request, status, code) in broken {
        let answer = api.send(&request).await;
        assert_problem(&answer, status, code, &format!("{request:?}"));
    }
    for (query, body, in_body, in_query) in refused {
        let answer = api.send(&cancel_request(FLAG, id, query).json(&body).bearer(&admin)).await;

        let case = format!("{query} {body}");
        assert_problem(&answer, 400, "invalid_request", &case);
        assert_eq!(pointers(&answer), in_body, "{case}: {answer:?}");
        assert_eq!(parameters(&answer), in_query, "{case}: {answer:?}");
    }

    assert_eq!(written(&api).await, before);
}
