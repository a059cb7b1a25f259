//! The check of a deployment: the real `check-deployment` against the real functions, behind Lambda's API.

use std::sync::Arc;

use harness::api::Api;
use serde_json::{Value, json};

use super::deployed::{Deployed, IN_VPC, deployed};
use super::functions::CHECK;
use super::lambda_api::{Deployment, ENDPOINTS, Fault, OTHERS, arn, check};
use super::releases::version;

#[tokio::test]
async fn a_deployment_that_works_passes() {
    let answer = check(Deployment::working().await, |_| ()).await;

    assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
    let checked = "checked flags-create-schedule, flags-list-schedules, flags-cancel-schedule, flags-schedule-processor, flags-verify-trail";
    assert_eq!(answer["Reason"], checked);
    assert_eq!(answer["PhysicalResourceId"], "flag-schedules-check");
}

/// An alarm on what does not run would fire at once if there had been nothing to run yet.
#[tokio::test]
async fn a_first_deployment_begins_with_a_tick_and_a_verification() {
    for (kind, runs) in [("Create", 2), ("Update", 0)] {
        let deployment = Deployment::working().await;
        let begun = Arc::clone(&deployment.begun);

        check(deployment, |request| request["RequestType"] = json!(kind)).await;

        let expected = [("schedule-processor", json!({})), ("verify-trail", json!({}))];
        let expected: Vec<_> =
            expected.into_iter().map(|(name, event)| (name.to_owned(), event)).take(runs).collect();
        assert_eq!(*begun.lock().unwrap(), expected, "{kind}");
    }
    let (ticking, stopped) = (deployed(&[]), deployed(&["TickEnabled=false"]));
    let begin = |deployed: &Deployed| deployed.properties("CheckedDeployment")["Begin"].clone();
    assert_eq!(begin(&ticking), ticking.properties("CheckedDeployment")["Others"]);
    assert_eq!(begin(&stopped)[0], "");
    for id in ["ProcessorSilentAlarm", "TrailUnverifiedAlarm"] {
        assert_eq!(ticking.properties(id)["TreatMissingData"], "breaching", "{id}");
        assert_eq!(ticking.resource(id)["DependsOn"], "CheckedDeployment", "{id}");
    }
    // No other alarm fires without data.
    for (id, alarm) in ticking.all("AWS::CloudWatch::Alarm") {
        let waits = ["ProcessorSilentAlarm", "TrailUnverifiedAlarm"].contains(&id);
        assert!(waits || alarm["TreatMissingData"] != "breaching", "{id}");
    }
}

#[tokio::test]
async fn every_function_that_does_not_work_is_named_with_its_own_message() {
    let mut deployment = Deployment::working().await;
    deployment.broken.insert("list-schedules", "AUTH_JWKS is not a key set".to_owned());
    deployment.broken.insert("schedule-processor", "DATABASE_URL is not set".to_owned());
    deployment.answers.insert("cancel-schedule", json!({"statusCode": 200}));
    deployment.answers.insert("verify-trail", json!({"complete": true}));

    let answer = check(deployment, |_| ()).await;

    assert_eq!(answer["Status"], "FAILED", "{answer:#}");
    let reasons = "flags-list-schedules: AUTH_JWKS is not a key set; \
        flags-cancel-schedule: expected 401 for a request without a token, got 200; \
        flags-schedule-processor: DATABASE_URL is not set; flags-verify-trail: it does not answer a check";
    assert_eq!(answer["Reason"], reasons);
}

/// New settings reach the functions only with a new version, and that only with a new name of the release.
#[tokio::test]
async fn settings_that_were_not_published_are_told() {
    for published in [
        json!({"Environment": {"Variables": {"AUTH_ISSUER": "old"}}}),
        json!({"KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/old"}),
        json!({"VpcConfig": {"SubnetIds": ["subnet-a"], "SecurityGroupIds": ["sg-a"]}}),
        json!({"Layers": [{"Arn": "arn:aws:lambda:us-east-1:123456789012:layer:database-ca:1"}]}),
    ] {
        let mut deployment = Deployment::answering();
        deployment.versions.insert("create-schedule", published.clone());

        let answer = check(deployment, |_| ()).await;

        assert_eq!(answer["Status"], "FAILED", "{published}: {answer:#}");
        let reason = "flags-create-schedule: its settings have changed, but `Release` has not: deploy again with another name of the release";
        assert_eq!(answer["Reason"], reason, "{published}");
    }
}

/// An update in which these properties change.
fn update(request: &mut Value, old: &Value) {
    request["RequestType"] = json!("Update");
    request["OldResourceProperties"] = request["ResourceProperties"].clone();
    let properties = request["OldResourceProperties"].as_object_mut().unwrap();
    properties.extend(old.as_object().unwrap().clone());
}

/// Such as one that only stops ticks, for a restore, while everything is throttled.
#[tokio::test]
async fn an_update_that_only_changes_what_begins_is_not_checked() {
    for old in [json!({}), json!({"Begin": [arn("schedule-processor"), arn("verify-trail")]})] {
        let answer = check(Deployment::default(), |request| update(request, &old)).await;

        assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
        assert_eq!(answer["Reason"], "nothing has changed that is checked");
    }
}

/// They were invoked when they were new. The rollback of such an update must not fail.
#[tokio::test]
async fn the_same_versions_are_not_invoked_again_but_compared_with_the_settings() {
    for (published, status) in [(json!({}), "SUCCESS"), (json!({"MemorySize": 128}), "FAILED")] {
        let mut deployment = Deployment::default();
        deployment.versions.insert("list-schedules", published);

        let answer = check(deployment, |request| update(request, &json!({"Settings": "other"}))).await;

        assert_eq!(answer["Status"], status, "{answer:#}");
    }
}

/// Another failure would leave the stack in `UPDATE_ROLLBACK_FAILED`.
#[tokio::test]
async fn a_rollback_is_recognised_by_any_version() {
    let newer = ENDPOINTS.map(|name| arn(name).replace(":7", ":10"));
    let answer = check(Deployment::default(), |request| update(request, &json!({"Endpoints": newer}))).await;

    assert_eq!(
        (&answer["Status"], &answer["Reason"]),
        (&json!("SUCCESS"), &json!("a rollback is not checked"))
    );
}

#[tokio::test]
async fn a_request_that_names_no_functions_is_refused() {
    for (property, value) in [
        ("Endpoints", Value::Null),
        ("Endpoints", json!("x")),
        ("Endpoints", json!([])),
        ("Others", json!({"a": 1})),
        ("Others", json!([arn("verify-trail"), ""])),
        ("Others", json!([arn("verify-trail"), 1])),
    ] {
        let answer = check(Deployment::answering(), |request| {
            request["ResourceProperties"][property] = value.clone();
        })
        .await;

        assert_eq!(answer["Status"], "FAILED", "{answer:#}");
        assert_eq!(answer["Reason"], format!("{property} must be a list of functions' versions"), "{value}");
    }
}

#[tokio::test]
async fn reasons_are_short_and_each_has_its_share() {
    let mut deployment = Deployment::answering()
        .with("configuration", "cancel-schedule", Fault::Denies)
        .with("invocations", "schedule-processor", Fault::Denies);
    let state = json!({"State": "Failed", "StateReason": "the KMS key is disabled"});
    deployment.versions.insert("create-schedule", state);
    deployment.broken.insert("list-schedules", "x".repeat(5000));
    deployment.broken.insert("verify-trail", "y".repeat(5000));

    let answer = check(deployment, |_| ()).await;

    let reason = answer["Reason"].as_str().unwrap();
    let reasons: Vec<_> = reason.split("; ").collect();
    assert_eq!(reasons[0], "flags-create-schedule: its version is Failed: the KMS key is disabled");
    assert!(reasons[1].starts_with("flags-list-schedules: xxx"), "{reason}");
    assert_eq!(
        reasons[2],
        "flags-cancel-schedule: its settings cannot be read: AccessDeniedException: not authorized"
    );
    assert_eq!(
        reasons[3],
        "flags-schedule-processor: it cannot be invoked: AccessDeniedException: not authorized"
    );
    assert!(reasons[4].starts_with("flags-verify-trail: yyy"), "{reason}");
    assert!([1, 4].iter().all(|number| reasons[*number].len() > 250) && reason.len() <= 1500, "{reason}");
}

#[tokio::test]
async fn a_rollback_and_a_removal_are_not_checked() {
    for (kind, reason) in [("Update", "a rollback is not checked"), ("Delete", "there is nothing to check")] {
        let answer = check(Deployment::default(), |request| {
            request["RequestType"] = json!(kind);
            request["OldResourceProperties"] = json!({"CodeVersion": arn(CHECK).replace(":7", ":8")});
        })
        .await;

        assert_eq!((&answer["Status"], &answer["Reason"]), (&json!("SUCCESS"), &json!(reason)), "{kind}");
    }
}

/// A check is no tick and no verification, whatever the database has.
#[tokio::test]
async fn a_check_does_nothing() {
    let api = Api::start().await;
    for function in OTHERS {
        let function = api.function(function).await;
        assert_eq!(function.invoke(&json!({"check": true})).await.value(), json!({"check": "passed"}));
        assert!(!function.logs().concat().contains("CloudWatchMetrics"), "{:?}", function.logs());
    }
}

#[test]
fn new_versions_are_checked_and_so_are_changed_settings() {
    let least = deployed(&[]);
    let check = least.properties("CheckedDeployment");
    let versions = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({"Ref": version(&least, name).0})).collect()
    };

    assert_eq!(check["ServiceToken"], json!({"Fn::GetAtt": ["CheckDeploymentFunction", "Arn"]}));
    assert_eq!(check["Endpoints"], versions(&ENDPOINTS));
    assert_eq!(check["Others"], versions(&OTHERS));
    assert_eq!(check["CodeVersion"], versions(&[CHECK])[0]);
    for changed in
        ["AuthIssuer=https://other.example.test", "DatabaseHost=other", "TickWatch=off", "AuthGroupsClaim=x"]
    {
        let other = deployed(&[changed]);
        assert_ne!(check["Settings"], other.properties("CheckedDeployment")["Settings"], "{changed}");
    }
    // It needs Lambda's API, which a VPC without a way out does not reach.
    let in_vpc = deployed(&IN_VPC);
    assert_eq!(in_vpc.function(CHECK).get("VpcConfig"), None);
}
