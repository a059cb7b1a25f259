//! The check of a deployment: the real `check-deployment` against the real functions, behind Lambda's API.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use harness::api::Api;
use harness::http::server::{Server, body, reply_json};
use harness::lambda::{Env, Function, Outcome};
use harness::logs::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use harness::tokens::Keys;
use serde_json::{Value, json};

use super::deployed::{Deployed, IN_VPC, deployed};
use super::functions::CHECK;
use super::releases::version;
use crate::migrations::cloudformation::CloudFormation;

const ENDPOINTS: [&str; 3] = ["create-schedule", "list-schedules", "cancel-schedule"];
const OTHERS: [&str; 2] = ["schedule-processor", "verify-trail"];

fn arn(function: &str) -> String {
    format!("arn:aws:lambda:us-east-1:123456789012:function:flags-{function}:7")
}

/// A deployment as Lambda has it: functions by their names.
#[derive(Default)]
struct Deployment {
    functions: BTreeMap<&'static str, Function>,
    /// Why a function does not start.
    broken: BTreeMap<&'static str, String>,
    /// Functions whose newest version has older settings than the function.
    stale: Vec<&'static str>,
    answers: BTreeMap<&'static str, Value>,
    /// Functions that were invoked without waiting for them, with their events.
    begun: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Deployment {
    async fn working() -> Self {
        let keys = Keys::generate().jwks().to_string();
        let env = Env::new()
            .set("DATABASE_URL", "postgres://service:secret@127.0.0.1:1/flags")
            .set("AUTH_JWKS", keys)
            .set("AWS_REGION", REGION)
            .set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        let mut deployment = Self::default();
        for name in ENDPOINTS.into_iter().chain(OTHERS) {
            let function = Function::start(name, env.clone()).await.unwrap_or_else(|error| panic!("{error}"));
            deployment.functions.insert(name, function);
        }
        deployment
    }

    /// Lambda's API.
    async fn serve(self) -> Server {
        let deployment = Arc::new(self);
        let server = Server::start(move |request| {
            let deployment = Arc::clone(&deployment);
            async move {
                let path = request.uri().path().replace("%3A", ":");
                let path = path.strip_prefix("/2015-03-31/functions/").unwrap_or_default().to_owned();
                let (function, operation) = path.split_once('/').unwrap_or_default();
                let is_version = function.ends_with(":7");
                let name = function.split("flags-").nth(1).unwrap_or_default().trim_end_matches(":7");
                let waits = request.headers().get("x-amz-invocation-type").is_none_or(|kind| kind != "Event");
                let payload = body(request, 100_000).await.unwrap_or_default();
                Ok::<_, Infallible>(match operation {
                    "invocations" if !waits => {
                        let event = serde_json::from_slice(&payload).unwrap();
                        deployment.begun.lock().unwrap().push((name.to_owned(), event));
                        reply_json(202, &json!({}))
                    }
                    "configuration" => deployment.configuration(name, is_version),
                    "invocations" => deployment.invoke(name, &payload).await,
                    other => panic!("{other} of {function}"),
                })
            }
        });
        server.await.unwrap_or_else(|error| panic!("{error}"))
    }

    fn configuration(&self, name: &str, is_version: bool) -> harness::http::server::Reply {
        let settings = if is_version && self.stale.contains(&name) { "old" } else { "new" };
        let environment = json!({"Variables": {"AUTH_ISSUER": settings}});
        let configuration =
            json!({"State": "Active", "CodeSha256": "x", "MemorySize": 256, "Environment": environment});
        reply_json(200, &configuration)
    }

    async fn invoke(&self, name: &str, payload: &[u8]) -> harness::http::server::Reply {
        let error = |message: &str| {
            let mut reply =
                reply_json(200, &json!({"errorType": "Function.InvalidSetting", "errorMessage": message}));
            reply.headers_mut().insert("x-amz-function-error", "Unhandled".parse().unwrap());
            reply
        };
        if let Some(message) = self.broken.get(name) {
            return error(message);
        }
        if let Some(answer) = self.answers.get(name) {
            return reply_json(200, answer);
        }
        let event: Value = serde_json::from_slice(payload).unwrap();
        match self.functions[name].invoke(&event).await.outcome {
            Outcome::Ok(value) => reply_json(200, &value),
            Outcome::FunctionError(failed) => error(&failed.message),
            Outcome::TimedOut => error("timed out"),
        }
    }
}

/// CloudFormation's request.
fn request(kind: &str, cloudformation: &CloudFormation) -> Value {
    json!({
        "RequestType": kind, "ResponseURL": cloudformation.url(), "StackId": "stack", "RequestId": "request",
        "LogicalResourceId": "CheckedDeployment", "ResourceType": "Custom::CheckedDeployment",
        "ResourceProperties": {
            "Begin": [arn("schedule-processor"), "", arn("verify-trail")], "BeginSeconds": "0",
            "CodeVersion": arn(CHECK), "Endpoints": ENDPOINTS.map(arn), "Others": OTHERS.map(arn), "Settings": "x",
        },
    })
}

/// What CloudFormation is answered.
async fn check(deployment: Deployment, change: impl FnOnce(&mut Value)) -> Value {
    let lambda = deployment.serve().await;
    let env = Env::new()
        .set("AWS_ENDPOINT_URL", lambda.url())
        .set("AWS_REGION", REGION)
        .set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    let function = Function::start(CHECK, env).await.unwrap_or_else(|error| panic!("{error}"));
    let cloudformation = CloudFormation::start().await;
    let mut request = request("Create", &cloudformation);
    change(&mut request);

    let result = function.invoke(&request).await.value();
    let answer = cloudformation.answer().body;
    assert_eq!(result["status"], answer["Status"]);
    answer
}

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
    let mut deployment = Deployment::working().await;
    deployment.stale.push("create-schedule");

    let answer = check(deployment, |_| ()).await;

    assert_eq!(answer["Status"], "FAILED", "{answer:#}");
    let reason = "flags-create-schedule: its settings have changed, but `Release` has not: deploy again with another name of the release";
    assert_eq!(answer["Reason"], reason);
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
