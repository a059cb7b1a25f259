//! Lambda's Runtime API and Extensions API for one process: a loopback HTTP server that hands out events when told to.
//!
//! It only speaks the protocol and keeps what it has seen in `Progress`; when something is handed out, and what happens
//! to the process, is decided in `environment`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::FunctionError;
use common::error::Result;
use common::http;
use common::http::server::{Reply, body, reply_json};

/// The largest answer that Lambda takes: 6 MiB and a little.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024 + 100;

/// An invocation on its way to the runtime.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub request_id: String,
    pub deadline_ms: u128,
    pub arn: String,
    pub payload: Bytes,
}

/// What the function made of an invocation.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Response(Bytes),
    Error(FunctionError),
}

/// What the server has seen and has to hand out.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The runtime has a request for the next invocation open.
    runtime_waits: bool,
    /// When it had the first one: since then no extension can register any more.
    pub first_next: Option<Instant>,
    dispatch: Option<Dispatch>,
    extensions: BTreeMap<String, Extension>,
    current: Option<String>,
    answered: Option<String>,
    pub answer: Option<Answer>,
    pub init_error: Option<FunctionError>,
}

#[derive(Debug)]
struct Extension {
    wants_invocations: bool,
    waits: bool,
    next: Option<Value>,
}

impl Progress {
    /// Whether the runtime and every extension ask for their next event, with nothing on the way to them.
    pub fn is_idle(&self) -> bool {
        let extensions_wait =
            self.extensions.values().all(|extension| extension.waits && extension.next.is_none());
        self.runtime_waits && self.dispatch.is_none() && extensions_wait
    }

    /// Hands an invocation to the runtime, and tells the extensions that registered for it.
    pub fn dispatch(&mut self, dispatch: Dispatch) {
        let event = json!({
            "eventType": "INVOKE",
            "deadlineMs": u64::try_from(dispatch.deadline_ms).unwrap_or(u64::MAX),
            "requestId": dispatch.request_id,
            "invokedFunctionArn": dispatch.arn,
            "tracing": { "type": "X-Amzn-Trace-Id", "value": TRACE },
        });
        for extension in self.extensions.values_mut().filter(|extension| extension.wants_invocations) {
            extension.next = Some(event.clone());
        }
        self.answer = None;
        self.current = Some(dispatch.request_id.clone());
        self.dispatch = Some(dispatch);
    }
}

const TRACE: &str = "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0";

/// The server. Dropping it ends it and all its connections.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    server: http::server::Server,
    pub progress: Arc<watch::Sender<Progress>>,
}

impl RuntimeApi {
    /// Starts it; `refuse_extensions` is the status that every registration gets.
    pub async fn start(function: &str, refuse_extensions: Option<u16>) -> Result<Self> {
        let progress = Arc::new(watch::Sender::new(Progress::default()));
        let server =
            Server { progress: Arc::clone(&progress), function: function.to_owned(), refuse_extensions };
        let server = Arc::new(server);
        let server = http::server::Server::start(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.route(request).await) }
        });
        Ok(Self { server: server.await?, progress })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

#[derive(Debug)]
struct Server {
    progress: Arc<watch::Sender<Progress>>,
    function: String,
    refuse_extensions: Option<u16>,
}

impl Server {
    async fn route(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next_invocation().await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.answer(id, request, Answer::Response).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                self.answer(id, request, |body| Answer::Error(FunctionError::parse(&body))).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                let error = FunctionError::parse(&body(request, MAX_ANSWER_BYTES).await.unwrap_or_default());
                self.progress.send_modify(|progress| progress.init_error = Some(error));
                reply_json(202, &json!({ "status": "OK" }))
            }
            (&Method::POST, ["2020-01-01", "extension", "register"]) => self.register(request).await,
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => self.next_event(&request).await,
            (&Method::POST, ["2020-01-01", "extension", "init" | "exit", "error"]) => {
                reply_json(202, &json!({ "status": "OK" }))
            }
            _ => reply_json(404, &json!({ "errorType": "NotFound", "errorMessage": path })),
        }
    }

    async fn next_invocation(&self) -> Reply {
        let mut progress = self.progress.subscribe();
        self.progress.send_modify(|progress| {
            progress.runtime_waits = true;
            progress.first_next.get_or_insert_with(Instant::now);
        });
        // The sender lives as long as `self`.
        let _ = progress.wait_for(|progress| progress.dispatch.is_some()).await;
        let mut taken = None;
        self.progress.send_modify(|progress| {
            taken = progress.dispatch.take();
            progress.runtime_waits = false;
        });
        let Some(dispatch) = taken else {
            return reply_json(500, &json!({ "errorMessage": "taken by another request" }));
        };
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", dispatch.request_id)
            .header("lambda-runtime-deadline-ms", dispatch.deadline_ms.to_string())
            .header("lambda-runtime-invoked-function-arn", dispatch.arn)
            .header("lambda-runtime-trace-id", TRACE)
            .body(Full::new(dispatch.payload));
        response.expect("ids, numbers and ARNs are valid header values")
    }

    async fn answer(
        &self,
        id: &str,
        request: Request<Incoming>,
        kind: impl FnOnce(Bytes) -> Answer,
    ) -> Reply {
        let Ok(answer) = body(request, MAX_ANSWER_BYTES).await else {
            let error = FunctionError {
                error_type: "Function.ResponseSizeTooLarge".to_owned(),
                message: format!(
                    "Response payload size exceeded maximum allowed payload size ({MAX_ANSWER_BYTES} bytes)."
                ),
            };
            self.progress.send_modify(|progress| {
                progress.answered = progress.current.take();
                progress.answer = Some(Answer::Error(error.clone()));
            });
            return reply_json(413, &json!({ "errorType": error.error_type }));
        };
        let (mut status, mut error_type) = (400, "InvalidRequestID");
        self.progress.send_modify(|progress| {
            if progress.current.as_deref() == Some(id) {
                status = 202;
                progress.answered = progress.current.take();
                progress.answer = Some(kind(answer));
            } else if progress.answered.as_deref() == Some(id) {
                (status, error_type) = (403, "InvalidStateTransition");
            }
        });
        match status {
            202 => reply_json(202, &json!({ "status": "OK" })),
            _ => reply_json(status, &json!({ "errorType": error_type })),
        }
    }

    async fn register(&self, request: Request<Incoming>) -> Reply {
        let asked: Value = serde_json::from_slice(&body(request, MAX_ANSWER_BYTES).await.unwrap_or_default())
            .unwrap_or_default();
        let events: Vec<&str> =
            asked["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let refused = |status, error_type: &str| reply_json(status, &json!({ "errorType": error_type }));
        if let Some(status) = self.refuse_extensions {
            return refused(status, "Extension.RegistrationRefused");
        }
        // SHUTDOWN is for external extensions only, which are programs of their own.
        if events.iter().any(|event| *event != "INVOKE") {
            return refused(403, "Extension.InvalidEventType");
        }
        let extension = Extension { wants_invocations: !events.is_empty(), waits: false, next: None };
        let id = uuid::Uuid::new_v4().to_string();
        let in_time = self.progress.send_if_modified(|progress| {
            let in_time = progress.first_next.is_none();
            if in_time {
                progress.extensions.insert(id.clone(), extension);
            }
            in_time
        });
        if !in_time {
            return refused(403, "Extension.InvalidExtensionState");
        }
        let body =
            json!({"functionName": self.function, "functionVersion": "$LATEST", "handler": "bootstrap"});
        let mut response = reply_json(200, &body);
        let id = id.parse().expect("a UUID is a valid header value");
        response.headers_mut().insert("lambda-extension-identifier", id);
        response
    }

    async fn next_event(&self, request: &Request<Incoming>) -> Reply {
        let id = request
            .headers()
            .get("lambda-extension-identifier")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default();
        let mut progress = self.progress.subscribe();
        let known = self.progress.send_if_modified(|progress| match progress.extensions.get_mut(id) {
            Some(extension) => {
                extension.waits = true;
                true
            }
            None => false,
        });
        if !known {
            return reply_json(403, &json!({ "errorType": "Extension.UnknownExtensionIdentifier" }));
        }
        // The sender lives as long as `self`.
        let has_next = |progress: &Progress| progress.extensions.get(id).is_some_and(|it| it.next.is_some());
        let _ = progress.wait_for(has_next).await;
        let mut event = None;
        self.progress.send_modify(|progress| {
            if let Some(extension) = progress.extensions.get_mut(id) {
                event = extension.next.take();
                extension.waits = false;
            }
        });
        reply_json(200, &event.unwrap_or_default())
    }
}
