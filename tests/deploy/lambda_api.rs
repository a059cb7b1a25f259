//! A deployment behind Lambda's API, and what `check-deployment` says of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::http::server::{Reply, Server, body, reply_json};
use harness::lambda::{Env, Function, Launch, Outcome};
use harness::logs::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use harness::tokens::Keys;
use serde_json::{Value, json};

use super::functions::CHECK;
use crate::migrations::cloudformation::CloudFormation;
use crate::support::LIMIT;

pub const ENDPOINTS: [&str; 3] = ["create-schedule", "list-schedules", "cancel-schedule"];
pub const OTHERS: [&str; 2] = ["schedule-processor", "verify-trail"];

pub fn arn(function: &str) -> String {
    format!("arn:aws:lambda:us-east-1:123456789012:function:flags-{function}:7")
}

/// What Lambda's API does instead of an operation.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// No answer.
    Hangs,
    /// So many calls are refused with 429.
    Throttles(usize),
    /// It is refused for good.
    Denies,
}

/// A deployment as Lambda has it: functions by their names.
#[derive(Default)]
pub struct Deployment {
    functions: BTreeMap<&'static str, Function>,
    /// Why a function does not start.
    pub broken: BTreeMap<&'static str, String>,
    /// What is said of a version, where it differs from the function.
    pub versions: BTreeMap<&'static str, Value>,
    pub answers: BTreeMap<&'static str, Value>,
    /// By the operation and the function.
    pub faults: Arc<Mutex<BTreeMap<(&'static str, &'static str), Fault>>>,
    /// Functions that were invoked without waiting for them, with their events.
    pub begun: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Deployment {
    /// The real functions.
    pub async fn working() -> Self {
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

    /// Functions that answer as the real ones do.
    pub fn answering() -> Self {
        let endpoints = ENDPOINTS.map(|name| (name, json!({"statusCode": 401})));
        let others = OTHERS.map(|name| (name, json!({"check": "passed"})));
        Self { answers: endpoints.into_iter().chain(others).collect(), ..Self::default() }
    }

    /// With this fault of an operation on a function.
    pub fn with(self, operation: &'static str, function: &'static str, fault: Fault) -> Self {
        self.faults.lock().unwrap().insert((operation, function), fault);
        self
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
                if let Some(reply) = deployment.fault(operation, name).await {
                    return Ok(reply);
                }
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

    async fn fault(&self, operation: &str, name: &str) -> Option<Reply> {
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            let fault =
                faults.iter_mut().find(|((of, function), _)| *of == operation && *function == name)?.1;
            let now = *fault;
            if let Fault::Throttles(left) = fault {
                *left = left.saturating_sub(1);
            }
            now
        };
        match fault {
            Fault::Hangs => std::future::pending().await,
            Fault::Throttles(0) => None,
            Fault::Throttles(_) => Some(refusal(429, "TooManyRequestsException", "Rate exceeded")),
            Fault::Denies => Some(refusal(403, "AccessDeniedException", "not authorized")),
        }
    }

    fn configuration(&self, name: &str, is_version: bool) -> Reply {
        let environment = json!({"Variables": {"AUTH_ISSUER": "new"}});
        let mut configuration =
            json!({"State": "Active", "CodeSha256": "x", "MemorySize": 256, "Environment": environment});
        if let Some(differing) = self.versions.get(name).filter(|_| is_version) {
            configuration.as_object_mut().unwrap().extend(differing.as_object().unwrap().clone());
        }
        reply_json(200, &configuration)
    }

    async fn invoke(&self, name: &str, payload: &[u8]) -> Reply {
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

fn refusal(status: u16, code: &'static str, message: &str) -> Reply {
    let mut reply = reply_json(status, &json!({"message": message}));
    reply.headers_mut().insert("x-amzn-errortype", code.parse().unwrap());
    reply
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
pub async fn check(deployment: Deployment, change: impl FnOnce(&mut Value)) -> Value {
    check_within(LIMIT, deployment, change).await
}

/// The same with this time limit of the function.
pub async fn check_within(limit: Duration, deployment: Deployment, change: impl FnOnce(&mut Value)) -> Value {
    let lambda = deployment.serve().await;
    let env = Env::new()
        .set("AWS_ENDPOINT_URL", lambda.url())
        .set("AWS_REGION", REGION)
        .set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    let function = Launch::of(CHECK).env(env).timeout(limit).start().await;
    let function = function.unwrap_or_else(|error| panic!("{error}"));
    let cloudformation = CloudFormation::start().await;
    let mut request = request("Create", &cloudformation);
    change(&mut request);

    let result = function.invoke(&request).await.value();
    let answer = cloudformation.answer().body;
    assert_eq!(result["status"], answer["Status"]);
    answer
}
