//! Which flag is meant: its key in the path, its environment in the query.

use harness::api::{cancel_request, create_request, list_request};
use harness::gateway::Request;
use serde_json::json;
use uuid::Uuid;

use super::{FLAG, answer, api_with_flag, assert_problem, parameters, written};
use crate::support::{text, turn_on};

/// One request to each endpoint for the same flag.
fn everywhere(flag: &str, query: &str) -> [Request; 3] {
    let id = Uuid::new_v4().to_string();
    [create_request(flag, query, &turn_on()), list_request(flag, query), cancel_request(flag, &id, query)]
}

#[tokio::test]
async fn flags_of_one_key_are_another_flag_in_each_environment() {
    let (api, _) = api_with_flag().await;
    let admin = api.admin();
    let long = "ü".repeat(100);
    for environment in ["staging", "Staging", "p", &long] {
        api.flag(FLAG, environment).await;
    }

    let queries =
        ["", "environment=staging", "environment=Staging", "environment=p", &format!("environment={long}")];
    for query in queries {
        let created = api.create(&admin, FLAG, query, &turn_on()).await;
        assert_eq!(created.status, 201, "{query}: {created:?}");
        let environment = query.strip_prefix("environment=").unwrap_or("production");
        assert_eq!(created.json["environment"], environment);
    }

    let mut seen = Vec::new();
    for query in queries {
        let page = api.list(&admin, FLAG, query).await;
        assert_eq!(page.json["schedules"].as_array().map(Vec::len), Some(1), "{query}: {page:?}");
        seen.push(text(&page.json["schedules"][0], "id").to_owned());
    }
    let named = api.list(&admin, FLAG, "environment=production").await;
    assert_eq!(
        text(&named.json["schedules"][0], "id"),
        seen[0],
        "production is what is meant without a word"
    );
    let elsewhere = api.cancel(&admin, FLAG, &seen[0], "environment=staging").await;
    assert_problem(&elsewhere, 404, "schedule_not_found", "a schedule of production");
    let here = api.cancel(&admin, FLAG, &seen[1], "environment=staging").await;
    assert_eq!(here.status, 200, "{here:?}");
}

#[tokio::test]
async fn a_flag_key_is_decoded_once_whoever_encoded_it() {
    let (api, _) = api_with_flag().await;
    let admin = api.admin();
    let longest = "é".repeat(100);
    for key in ["a b/ü", "100%", "1%2F2", "a+b", "..", "select * from x; --", &longest] {
        api.flag(key, "production").await;
    }

    let cases = [
        ("new-checkout", FLAG),
        ("new%2Dcheckout", FLAG),
        ("%6Eew-checkout", FLAG),
        ("a b/ü", "a b/ü"),
        ("a%20b%2F%C3%BC", "a b/ü"),
        ("a%20b%2f%c3%bc", "a b/ü"),
        ("100%", "100%"),
        ("100%25", "100%"),
        ("1%252F2", "1%2F2"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("..", ".."),
        ("%2e%2e", ".."),
        ("select * from x; --", "select * from x; --"),
        (&longest, &longest),
    ];
    for (sent, key) in cases {
        let created = api.create(&admin, sent, "", &turn_on()).await;
        assert_eq!(created.status, 201, "{sent}: {created:?}");
        assert_eq!(created.json["flag_key"], key, "{sent}");

        // The Location is fit to be used: it leads back to the same flag.
        let location = created.header("location").unwrap_or_default();
        let id = location.strip_prefix("schedule/").unwrap_or_else(|| panic!("{location}"));
        let cancelled = api.cancel(&admin, sent, id, "").await;
        assert_eq!(cancelled.status, 200, "{location}: {cancelled:?}");
        assert_eq!(cancelled.json["id"], created.json["id"]);
    }
}

#[tokio::test]
async fn a_location_resolves_behind_any_base_path_and_leads_to_the_same_schedule() {
    let (api, _) = api_with_flag().await;
    let admin = api.admin();
    let bases = ["https://api.example.test", "https://api.example.test/prod", "http://127.0.0.1:9000/a/b"];
    let environments = [
        ("production", ""),
        ("staging", "environment=staging"),
        ("ü&a=b+c d/%41?#", "environment=%C3%BC%26a%3Db%2Bc+d/%2541?%23"),
    ];

    for (environment, query) in environments {
        if environment != "production" {
            api.flag(FLAG, environment).await;
        }
        for base in bases {
            let created = api.create(&admin, FLAG, query, &turn_on()).await;
            assert_eq!(created.status, 201, "{query}: {created:?}");
            assert_eq!(created.json["environment"], environment);
            let location = created.header("location").unwrap_or_default();
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");

            let collection = format!("{base}/api/admin/flags/{FLAG}/schedule");
            let resolved = resolve(&format!("{collection}?{query}"), location);

            let of_flag = resolved.strip_prefix(&format!("{collection}/"));
            let of_flag = of_flag.unwrap_or_else(|| panic!("{location} leads to {resolved}"));
            let (id, query) = of_flag.split_once('?').unwrap_or((of_flag, ""));
            let cancelled = api.cancel(&admin, FLAG, id, query).await;
            assert_eq!(cancelled.status, 200, "{resolved}: {cancelled:?}");
            assert_eq!(cancelled.json["id"], created.json["id"]);
        }
    }
    assert_eq!(resolve("http://h/a/b?c", "d/e?f"), "http://h/a/d/e?f");
}

/// What a relative reference with a path and perhaps a query means at this address: RFC 3986 section 5.2, for a path
/// without dot segments.
fn resolve(address: &str, reference: &str) -> String {
    assert!(!reference.starts_with('/') && !reference.contains(':'), "it is not relative: {reference}");
    let path = address.split('?').next().unwrap_or_default();
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    format!("{folder}/{reference}")
}

#[tokio::test]
async fn a_query_whose_two_forms_differ_is_refused_on_every_endpoint() {
    let (api, _) = api_with_flag().await;
    api.flag(FLAG, "staging").await;
    let before = written(&api).await;
    let functions = ["create-schedule", "list-schedules", "cancel-schedule"];
    let cases = [
        (json!(null), json!({"environment": "staging"}), "environment"),
        (json!(""), json!({"environment": "staging"}), "environment"),
        (json!("environment=staging"), json!({}), "environment"),
        (json!("environment=staging"), json!({"environment": "production"}), "environment"),
        (json!("environment=staging"), json!({"environment": ["staging"]}), "environment"),
        (json!("environment=staging"), json!({"environment": "staging", "reason": "x"}), "reason"),
    ];

    for (raw, map, parameter) in cases {
        for (function, request) in functions.into_iter().zip(everywhere(FLAG, "")) {
            let mut event = request.bearer(&api.admin()).event();
            event["rawQueryString"] = raw.clone();
            event["queryStringParameters"] = map.clone();
            let refused = answer(&api, function, &event).await;

            let case = format!("{function}, {raw}, {map}");
            assert_problem(&refused, 400, "invalid_request", &case);
            assert_eq!(parameters(&refused), [parameter], "{case}: {refused:?}");
            let detail = text(&refused.json["errors"][0], "detail");
            assert!(detail.contains("queryStringParameters"), "{case}: {detail}");
        }
    }

    assert_eq!(written(&api).await, before);
    let admin = api.admin();
    for map in [json!({"environment": "staging"}), json!(null)] {
        let mut event = create_request(FLAG, "environment=staging", &turn_on()).bearer(&admin).event();
        event["queryStringParameters"] = map;
        let created = answer(&api, "create-schedule", &event).await;
        assert_eq!(created.json["environment"], "staging", "{created:?}");
    }
}

#[tokio::test]
async fn a_flag_key_that_cannot_be_one_is_refused_on_every_endpoint() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let (long, longer) = ("k".repeat(101), "k".repeat(10 * 1024));
    let bad = [
        "",
        "%ff",
        "%C3%28",
        "%c0%af",
        "%00",
        "a%0Ab",
        "a\nb",
        "%7f",
        "%c2%85",
        "a\u{1b}[31m",
        &long,
        &longer,
    ];

    for key in bad {
        for request in everywhere(key, "") {
            let answer = api.send(&request.bearer(&api.admin())).await;

            assert_problem(&answer, 400, "invalid_request", key);
            assert_eq!(parameters(&answer), ["flagKey"], "{key:?}: {answer:?}");
        }
    }

    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn an_environment_that_cannot_be_one_is_refused_on_every_endpoint() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let long = format!("environment={}", "e".repeat(101));
    let bad =
        ["environment=", "environment", "environment=%ff", "environment=%00", "environment=a%0ab", &long];

    for query in bad {
        for request in everywhere(FLAG, query) {
            let answer = api.send(&request.bearer(&api.admin())).await;

            assert_problem(&answer, 400, "invalid_request", query);
            assert_eq!(parameters(&answer), ["environment"], "{query}: {answer:?}");
        }
    }

    assert_eq!(written(&api).await, before);
}

#[tokio::test]
async fn unknown_and_repeated_query_parameters_are_refused_on_every_endpoint() {
    let (api, _) = api_with_flag().await;
    let before = written(&api).await;
    let cases = [
        ("env=production", "env"),
        ("Environment=production", "Environment"),
        ("environment%20=production", "environment "),
        ("dry_run", "dry_run"),
        ("=1", ""),
        ("%ff=1", "query"),
        ("access_token=abc", "access_token"),
        ("environment=production&environment=production", "environment"),
        ("environment=production&environment=staging", "environment"),
        ("environment=production&%65nvironment=staging", "environment"),
    ];

    for (query, parameter) in cases {
        for request in everywhere(FLAG, query) {
            let answer = api.send(&request.bearer(&api.admin())).await;

            assert_problem(&answer, 400, "invalid_request", query);
            assert_eq!(parameters(&answer), [parameter], "{query}: {answer:?}");
        }
    }
    // What one endpoint knows is unknown to the others.
    for (request, parameter) in [
        (create_request(FLAG, "reason=x", &turn_on()), "reason"),
        (list_request(FLAG, "reason=x"), "reason"),
        (cancel_request(FLAG, &Uuid::new_v4().to_string(), "limit=1"), "limit"),
        (list_request(FLAG, "limit=1&limit=1"), "limit"),
        (list_request(FLAG, "status=pending&status=failed"), "status"),
        (cancel_request(FLAG, &Uuid::new_v4().to_string(), "reason=a&reason=b"), "reason"),
    ] {
        let answer = api.send(&request.clone().bearer(&api.admin())).await;

        assert_problem(&answer, 400, "invalid_request", &format!("{request:?}"));
        assert_eq!(parameters(&answer), [parameter], "{request:?}: {answer:?}");
    }

    assert_eq!(written(&api).await, before);
    let harmless = api.list(&api.admin(), FLAG, "&&environment=production&").await;
    assert_eq!(harmless.json, json!({"schedules": [], "next_cursor": null}), "empty pairs mean nothing");
}
