//! The API explorer of the local stack, as a person uses it.

use std::collections::BTreeSet;

use harness::api::ENDPOINTS;
use harness::http::send;
use harness::postgres::connect;
use hyper::Method;
use serde_json::{Value, json};

use super::browser::Browser;
use super::stack::Stack;
use crate::support::LIMIT;

const ORIGIN: &str = "http://localhost:5173";

#[tokio::test]
async fn a_schedule_is_created_in_the_browser_and_applied() {
    let Some(browser) = Browser::open().await else { return };
    let stack = Stack::start_with(&[("CORS_ALLOWED_ORIGINS", ORIGIN), ("GATEWAY_AUTHORIZER", "on")]);
    let url = stack.setting("API_URL");
    let page = format!("{url}/docs");
    assert!(stack.told().contains(&page), "{}", stack.told());
    the_settings_of_the_gateway_take_effect(&url).await;

    browser.go(&page).await;

    // Its button has a closed lock once it has a token.
    browser.text(".authorize.locked").await;
    assert_eq!(operations(&browser).await, endpoints());
    let created: Value = serde_json::from_str(&execute(&browser, "createSchedule", "201").await).unwrap();
    assert_eq!((&created["flag_key"], &created["status"]), (&json!("new-checkout"), &json!("pending")));
    let listed: Value = serde_json::from_str(&execute(&browser, "listSchedules", "200").await).unwrap();
    assert_eq!(listed["schedules"][0]["id"], created["id"]);
    is_applied(&stack, created["id"].as_str().unwrap()).await;
    nothing_came_from_elsewhere(&browser, &url).await;
    browser.close().await;
}

/// Method and path of each operation that is shown.
async fn operations(browser: &Browser) -> BTreeSet<String> {
    let shown = browser.value(
        "[...document.querySelectorAll('.opblock')].map(block =>
             block.querySelector('.opblock-summary-method').textContent + ' ' +
             block.querySelector('.opblock-summary-path').dataset.path)",
    );
    serde_json::from_value(shown.await).unwrap()
}

fn endpoints() -> BTreeSet<String> {
    ENDPOINTS.iter().map(|(method, path, _)| format!("{method} {path}")).collect()
}

/// Sends an operation's form as it is filled in; gives the body of the answer.
async fn execute(browser: &Browser, operation: &str, status: &str) -> String {
    let block = format!("#operations-schedules-{operation}");
    browser.click(&format!("{block} .opblock-summary-control")).await;
    browser.click(&format!("{block} .try-out__btn")).await;
    browser.click(&format!("{block} .execute")).await;
    let answer = format!("{block} .live-responses-table .response");
    let body = browser.text(&format!("{answer} .response-col_description code")).await;
    let shown = browser.text(&format!("{answer} .response-col_status")).await;
    assert_eq!(shown.lines().next(), Some(status), "{operation}: {body}");
    body
}

/// Moves the schedule's time to now instead of waiting for it, and waits for the next tick.
async fn is_applied(stack: &Stack, id: &str) {
    let database = connect(&stack.setting("DATABASE_URL")).await.unwrap();
    let id = uuid::Uuid::parse_str(id).unwrap();
    let move_it =
        "update feature_flag_schedules set scheduled_at = now() where id = $1 and status = 'pending'";
    assert_eq!(database.execute(move_it, &[&id]).await.unwrap(), 1);

    let url = format!("{}/api/admin/flags/new-checkout/schedule?status=applied", stack.setting("API_URL"));
    let authorization = format!("Bearer {}", stack.setting("ADMIN_TOKEN"));
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let answer = send(Method::GET, &url, &[("authorization", &authorization)], "", LIMIT).await.unwrap();
        if answer.text().contains(&id.to_string()) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn the_settings_of_the_gateway_take_effect(url: &str) {
    let schedules = format!("{url}/api/admin/flags/new-checkout/schedule");

    let answer = send(Method::GET, &schedules, &[("origin", ORIGIN)], "", LIMIT).await.unwrap();

    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (401, r#"{"message":"Unauthorized"}"#));
    assert_eq!(answer.headers["access-control-allow-origin"], ORIGIN);
}

async fn nothing_came_from_elsewhere(browser: &Browser, url: &str) {
    let loaded =
        browser.value("performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)");
    let loaded: Vec<String> = serde_json::from_value(loaded.await).unwrap();
    assert!(loaded.len() > 4, "{loaded:?}");
    assert!(loaded.iter().all(|origin| origin == url), "{loaded:?}");
    // Chromium logs what a page may not load, or could not.
    assert_eq!(browser.logged().await, Vec::<Value>::new());
}
