//! Checks a deployment before CloudFormation calls it a success, as a custom resource: invokes the new version of each
//! function once, with an event that a working function refuses or answers without doing anything. So a function that
//! cannot start fails the deployment, with its own message.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use flag_schedules::lambda::{CustomResource, Diagnostic, LambdaEvent};
use serde_json::{Value, json};

const RESOURCE_ID: &str = "flag-schedules-check";
/// Until a new version can be invoked: in a VPC, its network has to be there first.
const ACTIVE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct CheckFailed(String);

impl From<CheckFailed> for Diagnostic {
    fn from(failed: CheckFailed) -> Self {
        Self { error_type: "CheckFailed".to_owned(), error_message: failed.0 }
    }
}

/// Checks the versions that the properties name by their ARNs: `Endpoints` must answer a request without a token with
/// 401, `Others` a check with its confirmation.
///
/// # Errors
/// If the event is no request of CloudFormation, or CloudFormation does not take the answer. A failed check is the answer.
pub async fn handle(client: &Client, event: LambdaEvent<Value>) -> Result<Value, CheckFailed> {
    let resource = CustomResource::read(&event.payload)
        .ok_or_else(|| CheckFailed("this is no request of CloudFormation".to_owned()))?
        .map_err(CheckFailed)?;
    let outcome = match resource.request_type.as_str() {
        "Delete" => Ok("there is nothing to check".to_owned()),
        // Nothing must fail again, see `is_rollback`.
        _ if resource.is_rollback() => Ok("a rollback is not checked".to_owned()),
        kind => {
            let properties = &resource.resource_properties;
            let checked = Box::pin(check(client, properties)).await;
            if kind == "Create" && checked.is_ok() {
                Box::pin(begin(client, properties)).await;
            }
            checked
        }
    };
    match &outcome {
        Ok(checked) => tracing::info!(checked, "the deployment works"),
        Err(reason) => tracing::error!(reason, "the deployment does not work"),
    }
    resource.answer(RESOURCE_ID, &outcome, json!({})).await.map_err(CheckFailed)
}

/// Of a list; an empty text in it stands for none.
fn arns(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).filter(|arn| !arn.is_empty())
}

/// Every function is checked, and every failure told.
async fn check(client: &Client, properties: &Value) -> Result<String, String> {
    let (mut checked, mut failures) = (Vec::new(), Vec::new());
    let endpoints = arns(&properties["Endpoints"]).map(|arn| (arn, request_without_a_token()));
    let others = arns(&properties["Others"]).map(|arn| (arn, json!({"check": true})));
    for (arn, event) in endpoints.chain(others) {
        let name = arn.split(':').nth(6).unwrap_or(arn);
        match check_function(client, arn, event).await {
            Ok(()) => checked.push(name),
            Err(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    if failures.is_empty() { Ok(format!("checked {}", checked.join(", "))) } else { Err(failures.join("; ")) }
}

/// On a first deployment: starts a tick and a verification (`Begin`), and waits until CloudWatch has their metrics. Alarms
/// that fire when there are none are created afterwards, and do not fire at once.
async fn begin(client: &Client, properties: &Value) {
    for arn in arns(&properties["Begin"]) {
        let invocation = client.invoke().function_name(arn).invocation_type(InvocationType::Event);
        if let Err(error) = invocation.payload(Blob::new("{}")).send().await {
            // The alarm then tells what this would have prevented.
            tracing::warn!(error = %DisplayErrorContext(&error), arn, "the first run could not be started");
        }
    }
    let seconds = properties["BeginSeconds"].as_str().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn check_function(client: &Client, arn: &str, event: Value) -> Result<(), String> {
    let is_request = event.get("check").is_none();
    let active = client.wait_until_published_version_active().function_name(arn).wait(ACTIVE_LIMIT).await;
    active.map_err(|error| format!("it did not become active: {}", DisplayErrorContext(&error)))?;
    check_settings(client, arn).await?;
    let invoked = client.invoke().function_name(arn).payload(Blob::new(event.to_string())).send().await;
    let invoked =
        invoked.map_err(|error| format!("it cannot be invoked: {}", DisplayErrorContext(&error)))?;
    let payload = invoked.payload().map(Blob::as_ref).unwrap_or_default();
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    if invoked.function_error().is_some() {
        let message = answer["errorMessage"].as_str().unwrap_or("it failed without a message");
        return Err(message.to_owned());
    }
    match is_request {
        true if answer["statusCode"] == 401 => Ok(()),
        true => Err(format!("expected 401 for a request without a token, got {}", answer["statusCode"])),
        false if answer["check"] == "passed" => Ok(()),
        false => Err("it does not answer a check".to_owned()),
    }
}

/// The version must have the code and the settings of the function: nothing publishes a version when only a parameter has
/// changed, and `Release` has not.
async fn check_settings(client: &Client, arn: &str) -> Result<(), String> {
    let (function, _) = arn.rsplit_once(':').unwrap_or((arn, ""));
    let configuration = async |name: &str| {
        let found = client.get_function_configuration().function_name(name).send().await;
        let found =
            found.map_err(|error| format!("its settings cannot be read: {}", DisplayErrorContext(&error)))?;
        Ok::<_, String>(json!([
            found.code_sha256(),
            found.environment().and_then(|environment| environment.variables()),
            found.vpc_config().map(|vpc| json!([vpc.subnet_ids(), vpc.security_group_ids()])),
            found.memory_size(),
            found.timeout(),
            found.layers().iter().filter_map(|layer| layer.arn()).collect::<Vec<_>>(),
        ]))
    };
    if configuration(arn).await? == configuration(function).await? {
        return Ok(());
    }
    Err("its settings have changed, but `Release` has not: deploy again with another name of the release"
        .to_owned())
}

fn request_without_a_token() -> Value {
    let path = "/api/admin/flags/check-deployment/schedule";
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "pathParameters": {"flagKey": "check-deployment"},
        "requestContext": {
            "requestId": "check-deployment",
            "http": {"method": "GET", "path": path, "sourceIp": "127.0.0.1", "userAgent": "check-deployment"},
        },
        "isBase64Encoded": false,
    })
}
