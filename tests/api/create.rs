//! Creating a schedule: which bodies are taken, what they become, and where it is told what is wrong with them.

use chrono::{DateTime, FixedOffset, SecondsFormat, SubsecRound, TimeDelta, Utc};
use harness::api::create_request;
use harness::clock;
use serde_json::{Value, json};

use super::{FLAG, KEYS, api_with_flag, assert_problem, parameters, pointers, written};
use crate::support::{in_seconds, only, text, turn_on, with_updates};

#[tokio::test]
async fn a_created_schedule_is_answered_with_every_key_of_the_contract() {
    let (api, _) = api_with_flag().await;
    let (scheduled_at, apply_by) = (in_seconds(3600), in_seconds(7200));
    let full = json!({
        "scheduled_at": scheduled_at,
        "apply_by": apply_by,
        "updates": {"enabled": true, "rollout_percentage": 25},
        "reason": "Launch",
    });
    let least = json!({
        "scheduled_at": scheduled_at, "updates": {"rollout_percentage": 0}, "apply_by": null, "reason": null,
    });

    let full = api.create(&api.admin(), FLAG, "", &full).await;
    let least = api.create(&api.admin(), FLAG, "", &least).await;

    for created in [&full, &least] {
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.header("content-type"), Some("application/json"));
        let location = format!("schedule/{}", text(&created.json, "id"));
        assert_eq!(created.header("location"), Some(location.as_str()));
        let keys: Vec<_> =
            created.json.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, KEYS, "{:#}", created.json);
        assert!(text(&created.json, "id").parse::<uuid::Uuid>().is_ok(), "{:#}", created.json);
    }
    assert_ne!(full.json["id"], least.json["id"]);
    let expected = json!({
        "id": full.json["id"], "created_at": full.json["created_at"],
        "flag_key": FLAG, "environment": "production", "status": "pending", "created_by": "admin-1",
        "scheduled_at": scheduled_at, "apply_by": apply_by,
        "updates": {"enabled": true, "rollout_percentage": 25}, "expect": null, "reason": "Launch",
        "cancelled_at": null, "cancelled_by": null, "cancel_reason": null, "applied_at": null,
        "failed_at": null, "error_code": null, "error_message": null,
    });
    assert_eq!(full.json, expected);
    assert_eq!(least.json["updates"], json!({"rollout_percentage": 0}));
    assert_eq!((&least.json["apply_by"], &least.json["reason"]), (&Value::Null, &Value::Null));
    let created_at = text(&full.json, "created_at");
    let parsed: DateTime<Utc> = created_at.parse().expect("created_at is a time");
    assert_eq!(parsed.to_rfc3339_opts(SecondsFormat::Millis, true), created_at);
}

#[tokio::test]
async fn a_time_of_any_offset_is_answered_in_utc_cut_to_milliseconds() {
    let (api, _) = api_with_flag().await;
    let time = clock::now().trunc_subsecs(0) + TimeDelta::hours(2);
    let at = |hours: i32, minutes: i32| {
        let offset = FixedOffset::east_opt((hours * 60 + minutes) * 60).expect("less than a day");
        time.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Secs, false)
    };
    let utc = |fraction: &str| time.format(&format!("%Y-%m-%dT%H:%M:%S{fraction}Z")).to_string();
    let midnight = (time + TimeDelta::days(1)).format("%Y-%m-%d").to_string();
    let cases = [
        (utc(""), utc(".000")),
        (utc(".5"), utc(".500")),
        (utc(".123999999"), utc(".123")),
        (utc("").to_lowercase(), utc(".000")),
        (utc("").replace('Z', "-00:00"), utc(".000")),
        (at(5, 45), utc(".000")),
        (at(-11, 0), utc(".000")),
        (at(14, 0), utc(".000")),
        (format!("{}T23:59:60Z", time.format("%Y-%m-%d")), format!("{midnight}T00:00:00.000Z")),
    ];

    for (typed, shown) in cases {
        let body = json!({"scheduled_at": typed, "updates": {"enabled": true}});
        let created = api.create(&api.admin(), FLAG, "", &body).await;

        assert_eq!(created.status, 201, "{typed}: {created:?}");
        assert_eq!(created.json["scheduled_at"], shown.as_str(), "{typed}");
        let row = "select scheduled_at from feature_flag_schedules where id = $1";
        let id: uuid::Uuid = text(&created.json, "id").parse().expect("a UUID");
        let stored: DateTime<Utc> = api.database.connect().await.query_one(row, &[&id]).await.unwrap().get(0);
        assert_eq!(stored.to_rfc3339_opts(SecondsFormat::Millis, true), shown, "{typed}");
    }
}

#[tokio::test]
async fn a_change_may_be_up_to_366_days_ahead_but_not_in_the_past() {
    let (api, _) = api_with_flag().await;
    let days = |days: i64| days * 24 * 60 * 60;
    let before = written(&api).await;

    let refused = [
        in_seconds(days(366) + 60),
        "9999-12-31T23:59:59Z".to_owned(),
        in_seconds(-1),
        "1970-01-01T00:00:00Z".to_owned(),
        "0000-01-01T00:00:00Z".to_owned(),
        "2016-12-31T23:59:60Z".to_owned(),
        "0000-12-31T23:59:59-01:00".to_owned(),
    ];
    for time in refused {
        let body = json!({"scheduled_at": time, "updates": {"enabled": true}});
        let answer = api.create(&api.admin(), FLAG, "", &body).await;

        assert_problem(&answer, 400, "invalid_request", &time);
        assert_eq!(pointers(&answer), ["/scheduled_at"], "{time}: {answer:?}");
    }

    assert_eq!(written(&api).await, before);
    let last = json!({"scheduled_at": in_seconds(days(366) - 5), "updates": {"enabled": true}});
    let created = api.create(&api.admin(), FLAG, "", &last).await;
    assert_eq!(created.status, 201, "{created:?}");
}

#[tokio::test]
async fn a_change_may_be_applied_until_the_end_of_the_year_9999() {
    let (api, _) = api_with_flag().await;
    let admin = api.admin();

    for (typed, shown) in [
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
        ("9999-12-31T22:59:59-01:00", "9999-12-31T23:59:59.000Z"),
    ] {
        let mut body = turn_on();
        body["apply_by"] = json!(typed);
        let created = api.create(&admin, FLAG, "", &body).await;
        assert_eq!(created.status, 201, "{typed}: {created:?}");
        assert_eq!(created.json["apply_by"], shown, "{typed}");
    }

    // With a key, the database judges the time; one that no column can hold does not get there.
    for (field, time) in [
        ("apply_by", "9999-12-31T23:59:59-01:00"),
        ("apply_by", "9999-12-31T23:59:60Z"),
        ("scheduled_at", "9999-12-31T23:59:59-01:00"),
        ("scheduled_at", "0000-12-31T23:59:59Z"),
    ] {
        let mut body = turn_on();
        body[field] = json!(time);
        let request = create_request(FLAG, "", &body).header("idempotency-key", "k");
        let refused = api.send(&request.bearer(&admin)).await;
        assert_problem(&refused, 400, "invalid_request", time);
        assert_eq!(pointers(&refused), [format!("/{field}")], "{time}: {refused:?}");
        let detail = text(&refused.json["errors"][0], "detail");
        assert!(detail.contains("0001 to 9999"), "{time}: {detail}");
    }
    let page = api.list(&admin, FLAG, "").await;
    assert_eq!(page.json["schedules"].as_array().map(Vec::len), Some(3), "{page:?}");
}

#[tokio::test]
async fn every_broken_rule_is_reported_at_once_and_nothing_is_written() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let body = json!({
        "scheduled_at": in_seconds(-3600),
        "apply_by": in_seconds(-7200),
        "updates": {"enabled": "yes", "rollout_percentage": 101, "rollout": 5, "a/b~c": 1},
        "reason": "x".repeat(501),
        "sheduled_at": "2026-02-09T09:00:00Z",
    });

    let query = "environment=&envirnoment=staging";
    let answer = api.send(&create_request(&"k".repeat(101), query, &body).bearer(&api.admin())).await;

    assert_problem(&answer, 400, "invalid_request", "all at once");
    let expected = [
        "/apply_by",
        "/reason",
        "/scheduled_at",
        "/sheduled_at",
        "/updates/a~1b~0c",
        "/updates/enabled",
        "/updates/rollout",
        "/updates/rollout_percentage",
    ];
    assert_eq!(pointers(&answer), expected, "{answer:?}");
    assert_eq!(parameters(&answer), ["envirnoment", "environment", "flagKey"], "{answer:?}");
    for fault in answer.json["errors"].as_array().into_iter().flatten() {
        assert!(!text(fault, "detail").is_empty(), "{fault:#}");
    }
    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn each_broken_rule_is_reported_where_it_is_broken() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let with = |field: &str, value: Value| {
        let mut body = turn_on();
        body[field] = value;
        body
    };
    let updates = |updates: Value| with_updates(&updates);
    let percentage = |value: Value| with_updates(&json!({ "rollout_percentage": value }));
    let time = in_seconds(3600);
    let same_time = json!({"scheduled_at": time, "apply_by": time, "updates": {"enabled": true}});
    let mut cases = vec![
        (json!({}), vec!["/scheduled_at", "/updates"]),
        (json!([]), vec![""]),
        (json!("text"), vec![""]),
        (json!(null), vec![""]),
        (json!({"updates": {"enabled": true}}), vec!["/scheduled_at"]),
        (json!({"scheduled_at": time}), vec!["/updates"]),
        (updates(json!({})), vec!["/updates"]),
        (updates(json!([])), vec!["/updates"]),
        (updates(json!(null)), vec!["/updates"]),
        (updates(json!({"enabled": null})), vec!["/updates/enabled"]),
        (updates(json!({"enabled": 1})), vec!["/updates/enabled"]),
        (updates(json!({"rolloutPercentage": 30})), vec!["/updates/rolloutPercentage"]),
        (updates(json!({"enabled": true, "description": ""})), vec!["/updates/description"]),
        (same_time, vec!["/apply_by"]),
        (with("apply_by", json!(in_seconds(60))), vec!["/apply_by"]),
        (with("apply_by", json!("noon")), vec!["/apply_by"]),
        (with("apply_by", json!(1_770_627_600)), vec!["/apply_by"]),
        (with("apply_by", json!("9999-12-31T23:59:59-01:00")), vec!["/apply_by"]),
        (with("apply_by", json!("9999-12-31T23:59:60Z")), vec!["/apply_by"]),
        (with("apply_by", json!("9999-12-31T00:01:00-23:59")), vec!["/apply_by"]),
        (with("apply_by", json!("0000-01-01T00:00:00Z")), vec!["/apply_by"]),
        (with("apply_by", json!("0001-01-01T00:00:00+00:01")), vec!["/apply_by"]),
        (with("scheduled_at", json!("9999-12-31T23:59:60Z")), vec!["/scheduled_at"]),
        (with("reason", json!("x".repeat(501))), vec!["/reason"]),
        (with("reason", json!("é".repeat(501))), vec!["/reason"]),
        (with("reason", json!("a\0b")), vec!["/reason"]),
        (with("reason", json!(["because"])), vec!["/reason"]),
        (with("status", json!("applied")), vec!["/status"]),
        (with("created_by", json!("somebody else")), vec!["/created_by"]),
        (with("", json!(1)), vec!["/"]),
    ];
    for value in [json!(-1), json!(101), json!(0.5), json!("50"), json!(null), json!(true), json!(1e300)] {
        cases.push((percentage(value), vec!["/updates/rollout_percentage"]));
    }
    let not_times = [
        json!("tomorrow"),
        json!(""),
        json!("2026-02-09"),
        json!("2026-02-09T09:00:00"),
        json!("2026-02-09 09:00:00Z"),
        json!("2026-02-30T09:00:00Z"),
        json!("2026-02-09T25:00:00Z"),
        json!("2026-02-09T09:00:00+25:00"),
        json!(" 2026-02-09T09:00:00Z"),
        json!(1_770_627_600),
        json!(null),
    ];
    cases.extend(not_times.map(|value| (with("scheduled_at", value), vec!["/scheduled_at"])));

    for (body, expected) in cases {
        let answer = api.create(&api.admin(), FLAG, "", &body).await;

        let case = body.to_string();
        assert_problem(&answer, 400, "invalid_request", &case);
        assert_eq!(pointers(&answer), expected, "{case}: {answer:?}");
    }
    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn a_reason_is_stored_and_audited_as_typed() {
    let (api, _) = api_with_flag().await;
    let longest = format!("{}\u{1f680}", "é".repeat(499));
    let reasons = [
        "",
        "first line\r\n\tsecond line\n",
        "\u{202e}right to left\u{202c} שלום e\u{301}",
        r#"'; drop table feature_flags; -- "quoted" \ $1 %s {} <b>&amp;</b>"#,
        "\u{1b}[31mred\u{1b}[0m \u{7} \u{85} \u{feff} \u{fffd}",
        r#"{"event_type": "flag_schedule.applied"}"#,
        &longest,
    ];

    for reason in reasons {
        let mut body = turn_on();
        body["reason"] = json!(reason);
        let created = api.create(&api.admin(), FLAG, "", &body).await;

        assert_eq!(created.status, 201, "{reason:?}: {created:?}");
        assert_eq!(created.json["reason"], reason);
        let row = "select reason from feature_flag_schedules where id = $1";
        let id: uuid::Uuid = text(&created.json, "id").parse().expect("a UUID");
        let stored: String = api.database.connect().await.query_one(row, &[&id]).await.unwrap().get(0);
        assert_eq!(stored, reason);
        let mut events = api.events().await;
        events.retain(|event| event["schedule_id"] == created.json["id"]);
        assert_eq!(only(&events, "flag_schedule.created")["schedule"]["reason"], reason);
    }
}

#[tokio::test]
async fn a_flag_that_is_not_there_is_not_found_and_nothing_is_written() {
    let (api, _) = api_with_flag().await;
    api.flag("elsewhere", "staging").await;
    let before = written(&api).await;

    for (flag, query) in
        [("nowhere", ""), ("elsewhere", ""), (FLAG, "environment=staging"), ("New-Checkout", "")]
    {
        let answer = api.create(&api.admin(), flag, query, &turn_on()).await;

        assert_problem(&answer, 404, "flag_not_found", &format!("{flag}?{query}"));
        assert_eq!(answer.json.get("errors"), None, "{answer:?}");
    }

    assert_eq!(written(&api).await, before);
}
