//! What the RIE does not have: the frozen environment between invocations, and its end.

use std::time::Duration;

use serde_json::json;

use super::{TIMEOUT, launch, observe};

const LIMIT: Duration = Duration::from_secs(30);

/// The process's state by `/proc`: `T` is stopped.
fn state(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name[..1].to_owned()
}

#[tokio::test]
async fn the_process_stands_still_between_invocations() {
    let function = launch(&[]).start().await.unwrap();
    let pid = function.pid().unwrap();
    assert_eq!(state(pid), "T", "after init");

    observe(&function, &json!({"do": "event"})).await;
    function.settled(LIMIT).await;

    assert_eq!((function.pid(), state(pid)), (Some(pid), "T".to_owned()));
}

#[tokio::test]
async fn a_function_that_is_not_to_be_frozen_runs_on() {
    let function = launch(&[]).freeze(false).start().await.unwrap();

    observe(&function, &json!({"do": "event"})).await;
    function.settled(LIMIT).await;

    assert_ne!(state(function.pid().unwrap()), "T");
}

#[tokio::test]
async fn the_environment_is_at_rest_only_when_the_extension_is() {
    let function = launch(&[("PROBE_EXTENSION", "INVOKE")]).start().await.unwrap();

    observe(&function, &json!({"do": "event"})).await;
    function.settled(LIMIT).await;
    let seen = observe(&function, &json!({"do": "extension"})).await.result();

    assert!(
        seen.as_array().is_some_and(|seen| seen.len() >= 2),
        "its first event came before the freeze: {seen}"
    );
}

#[tokio::test]
async fn a_refused_extension_is_refused_with_the_status_that_the_test_chose() {
    let function = launch(&[("PROBE_EXTENSION", "INVOKE")]).refuse_extensions(500).start().await.unwrap();

    let seen = observe(&function, &json!({"do": "extension"})).await.result();

    assert_eq!(seen[0]["status"], 500);
}

#[tokio::test]
async fn a_killed_process_is_replaced_by_the_next_invocation() {
    let function = launch(&[]).start().await.unwrap();
    let first = function.pid();

    function.kill();
    let result = observe(&function, &json!({"do": "event"})).await.result();

    assert_eq!(result, json!({"do": "event"}));
    assert_ne!(function.pid(), first);
}

#[tokio::test]
async fn the_end_is_a_sigterm_for_a_thawed_process() {
    let function = launch(&[]).start().await.unwrap();

    let exit = function.stop().await;

    assert_eq!((exit.code, exit.signal), (None, Some(15)));
}

#[tokio::test]
async fn the_time_limit_is_that_of_the_launch() {
    let function = launch(&[]).start().await.unwrap();
    let begun = std::time::Instant::now();

    observe(&function, &json!({"do": "sleep"})).await;

    assert!(begun.elapsed() >= TIMEOUT, "{:?}", begun.elapsed());
}
