//! `check-deployment` answers before its time is up, whatever Lambda does: otherwise CloudFormation would wait for an hour.

use std::time::Duration;

use serde_json::{Value, json};

use super::lambda_api::{Deployment, ENDPOINTS, Fault, OTHERS, check, check_within};

/// What it keeps for its answer, and a second and a half for the check.
const SHORT: Duration = Duration::from_millis(6_500);

#[tokio::test]
async fn a_function_that_never_answers_is_told_in_time() {
    for operation in ["invocations", "configuration"] {
        let deployment = Deployment::answering().with(operation, "verify-trail", Fault::Hangs);

        let answer = check_within(SHORT, deployment, |_| ()).await;

        assert_eq!(answer["Status"], "FAILED", "{answer:#}");
        let reason = answer["Reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("flags-verify-trail: "), "{reason}");
        assert!(reason.ends_with("no answer within the time there was"), "{reason}");
    }
}

#[tokio::test]
async fn versions_that_do_not_become_active_are_told_together() {
    let mut deployment = Deployment::answering();
    for name in ENDPOINTS.into_iter().chain(OTHERS) {
        let state = json!({"State": "Pending", "StateReason": "The function is being created."});
        deployment.versions.insert(name, state);
    }

    let answer = check_within(SHORT, deployment, |_| ()).await;

    let told = ENDPOINTS.into_iter().chain(OTHERS);
    let told =
        told.map(|name| format!("flags-{name}: its version is Pending: The function is being created."));
    assert_eq!(
        (&answer["Status"], &answer["Reason"]),
        (&json!("FAILED"), &json!(told.collect::<Vec<_>>().join("; ")))
    );
}

#[tokio::test]
async fn a_first_deployment_does_not_wait_longer_than_there_is_time() {
    let answer = check_within(SHORT, Deployment::answering(), |request| {
        request["ResourceProperties"]["BeginSeconds"] = json!("600");
    })
    .await;

    assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
}

#[tokio::test]
async fn a_throttled_call_is_repeated() {
    for operation in ["invocations", "configuration"] {
        // More than the SDK repeats on its own.
        let deployment = Deployment::answering().with(operation, "create-schedule", Fault::Throttles(4));

        let answer = check(deployment, |_| ()).await;

        assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
        assert_eq!(answer["Data"], json!({"Throttled": ""}));
    }
}

/// Who is throttled is busy, which is no reason to refuse what may be the remedy.
#[tokio::test]
async fn a_function_that_remains_throttled_does_not_fail_a_deployment() {
    let throttled =
        || Deployment::answering().with("invocations", "create-schedule", Fault::Throttles(usize::MAX));
    let mut broken = throttled();
    broken.broken.insert("verify-trail", "DATABASE_URL is not set".to_owned());

    // The SDK repeats each call first, for some seconds.
    let limit = SHORT + Duration::from_secs(5);
    let (passed, failed) =
        tokio::join!(check_within(limit, throttled(), |_| ()), check_within(limit, broken, |_| ()));

    let reason = "checked flags-list-schedules, flags-cancel-schedule, flags-schedule-processor, flags-verify-trail; \
        not checked, because they are throttled: flags-create-schedule";
    assert_eq!((&passed["Status"], &passed["Reason"]), (&json!("SUCCESS"), &json!(reason)));
    assert_eq!(passed["Data"], json!({"Throttled": "flags-create-schedule"}));
    let expected: (Value, Value) = (json!("FAILED"), json!("flags-verify-trail: DATABASE_URL is not set"));
    assert_eq!((failed["Status"].clone(), failed["Reason"].clone()), expected);
}
