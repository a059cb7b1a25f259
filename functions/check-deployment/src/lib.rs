//! Checks a deployment before CloudFormation calls it a success, as a custom resource: invokes the new version of each
//! function once, with an event that a working function refuses or answers without doing anything. So a function that
//! cannot start fails the deployment, with its own message.

mod function;

use std::time::{Duration, Instant};

use aws_sdk_lambda::Client;
use flag_schedules::lambda::{
    CustomResource, Diagnostic, LambdaEvent, RequestType, deadline_of, join_reasons,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep_until;

use function::{Call, Failure, Function};

const RESOURCE_ID: &str = "flag-schedules-check";
/// Of an invocation's time, for the answer.
const ANSWER_RESERVE: Duration = Duration::from_secs(5);
/// What only a first deployment uses.
const BEGIN: [&str; 2] = ["Begin", "BeginSeconds"];

#[derive(Debug)]
pub struct CheckFailed(String);

impl From<CheckFailed> for Diagnostic {
    fn from(failed: CheckFailed) -> Self {
        Self { error_type: "CheckFailed".to_owned(), error_message: failed.0 }
    }
}

/// What a check found out.
struct Checked {
    reason: String,
    /// Functions that Lambda would not invoke because they, or the account, are busy.
    throttled: Vec<String>,
}

impl Checked {
    fn nothing(reason: &str) -> Self {
        Self { reason: reason.to_owned(), throttled: Vec::new() }
    }
}

/// Checks the versions that the properties name by their ARNs: `Endpoints` must answer a request without a token with
/// 401, `Others` a check with its confirmation.
///
/// # Errors
/// If the event is no request of CloudFormation, or CloudFormation does not take the answer. A failed check is the answer.
pub async fn handle(client: &Client, event: LambdaEvent<Value>) -> Result<Value, CheckFailed> {
    let end = deadline_of(event.context.deadline);
    let end = end.checked_sub(ANSWER_RESERVE).unwrap_or_else(Instant::now);
    let answered = CustomResource::handle(&event.payload, RESOURCE_ID, async |resource| {
        let (outcome, throttled) = match check(client, &resource, end).await {
            Ok(checked) => (Ok(checked.reason), checked.throttled.join(", ")),
            Err(reason) => (Err(reason), String::new()),
        };
        match &outcome {
            Ok(checked) => tracing::info!(checked, "the deployment works"),
            Err(reason) => tracing::error!(reason, "the deployment does not work"),
        }
        (outcome, json!({"Throttled": throttled}))
    });
    let answered = Box::pin(answered).await;
    answered.unwrap_or_else(|| Err("this is no request of CloudFormation".to_owned())).map_err(CheckFailed)
}

async fn check(client: &Client, resource: &CustomResource, end: Instant) -> Result<Checked, String> {
    let properties = &resource.resource_properties;
    match resource.request_type {
        RequestType::Delete => Ok(Checked::nothing("there is nothing to check")),
        // Nothing must fail again, see `is_rollback`.
        _ if resource.is_rollback() => Ok(Checked::nothing("a rollback is not checked")),
        _ if resource.changes_only(&BEGIN) => Ok(Checked::nothing("nothing has changed that is checked")),
        // The versions worked when they were new. A rollback is like this if the update had none either.
        RequestType::Update if resource.changes_only(&[&BEGIN[..], &["Settings"]].concat()) => {
            check_functions(client, properties, Depth::Settings, end).await
        }
        RequestType::Update => check_functions(client, properties, Depth::Invocation, end).await,
        RequestType::Create => {
            let checked = check_functions(client, properties, Depth::Invocation, end).await?;
            begin(client, properties, end).await;
            Ok(checked)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Settings,
    Invocation,
}

/// Of all versions at once; every failure is told.
async fn check_functions(
    client: &Client,
    properties: &Value,
    depth: Depth,
    end: Instant,
) -> Result<Checked, String> {
    let endpoints = versions(properties, "Endpoints")?.into_iter().map(|arn| (arn, Call::Request));
    let others = versions(properties, "Others")?.into_iter().map(|arn| (arn, Call::Check));
    let checks = endpoints.chain(others).map(async |(arn, call)| {
        let function = Function { client, arn, end };
        let result = match function.check_settings().await {
            Ok(()) if depth == Depth::Invocation => function.check_invocation(call).await,
            result => result,
        };
        (arn.split(':').nth(6).unwrap_or(arn), result)
    });
    let (mut checked, mut throttled, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for (name, result) in join_all(checks).await {
        match result {
            Ok(()) => checked.push(name),
            Err(Failure::Throttled) => {
                tracing::warn!(name, "the function is throttled, and was not checked");
                throttled.push(name.to_owned());
            }
            Err(Failure::Broken(reason)) => {
                // The answer may have no room for all of it.
                tracing::error!(name, reason, "the function does not work");
                failures.push(format!("{name}: {reason}"));
            }
        }
    }
    if !failures.is_empty() {
        return Err(join_reasons(&failures));
    }
    let mut reason = format!("checked {}", checked.join(", "));
    if !throttled.is_empty() {
        reason = format!("{reason}; not checked, because they are throttled: {}", throttled.join(", "));
    }
    Ok(Checked { reason, throttled })
}

fn versions<'a>(properties: &'a Value, name: &str) -> Result<Vec<&'a str>, String> {
    let arns = properties[name].as_array().filter(|arns| !arns.is_empty());
    let arns = arns.map(|arns| arns.iter().map(|arn| arn.as_str().filter(|arn| !arn.is_empty())).collect());
    arns.flatten().ok_or_else(|| format!("{name} must be a list of functions' versions"))
}

/// On a first deployment: starts a tick and a verification (`Begin`), and waits until CloudWatch has their metrics. Alarms
/// that fire when there are none are created afterwards, and do not fire at once.
async fn begin(client: &Client, properties: &Value, end: Instant) {
    let arns = properties["Begin"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // An empty text stands for none.
    for arn in arns.filter(|arn| !arn.is_empty()) {
        if let Err(failure) = (Function { client, arn, end }).start().await {
            // The alarm then tells what this would have prevented.
            tracing::warn!(%failure, arn, "the first run could not be started");
        }
    }
    let seconds = properties["BeginSeconds"].as_str().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    sleep_until(end.min(Instant::now() + Duration::from_secs(seconds)).into()).await;
}
