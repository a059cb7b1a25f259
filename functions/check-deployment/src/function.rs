//! One function's version: whether it is there, has the settings of the function, and answers. Whatever Lambda's API
//! does, a check ends in time.

use std::fmt;
use std::time::{Duration, Instant};

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput as Configuration;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, State};
use flag_schedules::error::chain;
use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout_at};

/// Between two looks at a version that is not active yet, and between two calls that are throttled.
const PAUSE: Duration = Duration::from_secs(1);
/// What 429 means to Lambda: the function, or the account, does as much as it may.
const TOO_MANY_REQUESTS: u16 = 429;

pub(crate) enum Failure {
    /// Until the time was up. This says nothing about the version.
    Throttled,
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled => "it is throttled",
            Self::Broken(reason) => reason,
        })
    }
}

/// How a function is invoked.
pub(crate) enum Call {
    /// By a request without a token.
    Request,
    /// By `{"check": true}`.
    Check,
}

pub(crate) struct Function<'a> {
    pub(crate) client: &'a Client,
    /// Of the version.
    pub(crate) arn: &'a str,
    /// When the check must be over.
    pub(crate) end: Instant,
}

impl Function<'_> {
    /// The version must have the code and the settings of the function: nothing publishes a version when only a parameter
    /// has changed, and `Release` has not.
    pub(crate) async fn check_settings(&self) -> Result<(), Failure> {
        let (function, _) = self.arn.rsplit_once(':').unwrap_or((self.arn, ""));
        if settings(&self.configuration(self.arn).await?) == settings(&self.configuration(function).await?) {
            return Ok(());
        }
        let reason =
            "its settings have changed, but `Release` has not: deploy again with another name of the release";
        Err(Failure::Broken(reason.to_owned()))
    }

    pub(crate) async fn check_invocation(&self, call: Call) -> Result<(), Failure> {
        self.wait_until_active().await?;
        let event = match call {
            Call::Request => request_without_a_token(),
            Call::Check => json!({"check": true}),
        };
        let invoked = self.call("it cannot be invoked", || {
            self.client.invoke().function_name(self.arn).payload(Blob::new(event.to_string())).send()
        });
        let invoked = invoked.await?;
        let payload = invoked.payload().map(Blob::as_ref).unwrap_or_default();
        let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
        if invoked.function_error().is_some() {
            let message = answer["errorMessage"].as_str().unwrap_or("it failed without a message");
            return Err(Failure::Broken(message.to_owned()));
        }
        let reason = match call {
            Call::Request if answer["statusCode"] == 401 => return Ok(()),
            Call::Check if answer["check"] == "passed" => return Ok(()),
            Call::Request => {
                format!("expected 401 for a request without a token, got {}", answer["statusCode"])
            }
            Call::Check => "it does not answer a check".to_owned(),
        };
        Err(Failure::Broken(reason))
    }

    /// Starts it, and does not wait for its end.
    pub(crate) async fn start(&self) -> Result<(), Failure> {
        let invocation = || {
            let invocation = self.client.invoke().function_name(self.arn);
            invocation.invocation_type(InvocationType::Event).payload(Blob::new("{}")).send()
        };
        self.call("it cannot be invoked", invocation).await.map(|_| ())
    }

    /// Waits until the version can be invoked: in a VPC, its network has to be there first.
    async fn wait_until_active(&self) -> Result<(), Failure> {
        loop {
            let found = self.configuration(self.arn).await?;
            let next = Instant::now() + PAUSE;
            match found.state() {
                Some(State::Active) => return Ok(()),
                Some(State::Pending) if next < self.end => sleep_until(next.into()).await,
                state => {
                    let state = state.map_or("of no state", State::as_str);
                    let reason = found.state_reason().unwrap_or("without a reason");
                    return Err(Failure::Broken(format!("its version is {state}: {reason}")));
                }
            }
        }
    }

    async fn configuration(&self, name: &str) -> Result<Configuration, Failure> {
        let read = || self.client.get_function_configuration().function_name(name).send();
        self.call("its settings cannot be read", read).await
    }

    /// Repeats a call for as long as it is throttled. `failed` is what the reason begins with.
    async fn call<T, E>(
        &self,
        failed: &str,
        send: impl AsyncFn() -> Result<T, SdkError<E>>,
    ) -> Result<T, Failure>
    where
        SdkError<E>: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut throttled = false;
        loop {
            let error = match timeout_at(self.end.into(), send()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) if throttled => return Err(Failure::Throttled),
                Err(_) => {
                    return Err(Failure::Broken(format!("{failed}: no answer within the time there was")));
                }
            };
            throttled =
                error.raw_response().is_some_and(|answer| answer.status().as_u16() == TOO_MANY_REQUESTS);
            if !throttled {
                return Err(Failure::Broken(format!("{failed}: {}", told(&error))));
            }
            sleep_until(self.end.min(Instant::now() + PAUSE).into()).await;
        }
    }
}

/// What AWS says; without an answer of AWS, what prevented it.
fn told<E>(error: &SdkError<E>) -> String
where
    SdkError<E>: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => chain(error),
    }
}

fn settings(of: &Configuration) -> Value {
    json!([
        of.code_sha256(),
        of.environment().and_then(|environment| environment.variables()),
        of.kms_key_arn(),
        of.vpc_config().map(|vpc| json!([vpc.subnet_ids(), vpc.security_group_ids()])),
        of.memory_size(),
        of.timeout(),
        of.layers().iter().filter_map(|layer| layer.arn()).collect::<Vec<_>>(),
    ])
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
