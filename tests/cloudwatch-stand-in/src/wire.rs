//! The wire: AWS JSON 1.1 over HTTP, as strict about it as the service is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use common::http;
use common::http::server::Server;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use tokio::sync::watch;

use crate::record::Outcome;
use crate::state::{Plan, Reply, State};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

pub(super) async fn start(state: Arc<watch::Sender<State>>) -> common::Result<Server> {
    Server::start(move |request| answer(Arc::clone(&state), request)).await
}

/// What ends a connection without an answer.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Hangup {}

async fn answer(
    state: Arc<watch::Sender<State>>,
    request: Request<Incoming>,
) -> Result<http::server::Reply, Hangup> {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    // A caller that goes away in the middle of its request has asked for nothing.
    let Ok(body) = http::server::body(request, usize::MAX).await else { return Err(Hangup) };
    let mut plan = None;
    state.send_modify(|state| {
        plan = Some(match action(&method, &headers) {
            Ok(action) => state.call(action, &body),
            Err(why) => state.illegal("", &why),
        });
    });
    // `send_modify` has run its closure.
    let Some(Plan { call, reply, outcome }) = plan else { return Err(Hangup) };
    // Dropped before it has an outcome when the caller gives up: hyper drops this future with the connection.
    let mut open = Open { state: &state, call, outcome: Outcome::Abandoned };
    match reply {
        Reply::Answer { status, body, after } => {
            // Tokio's timer counts whole milliseconds, so that even no time at all would take one.
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            open.outcome = outcome;
            drop(open);
            Ok(response(status, body))
        }
        Reply::Silence => match std::future::pending::<Infallible>().await {},
        Reply::Cut => {
            open.outcome = outcome;
            Err(Hangup)
        }
    }
}

/// The action that is asked for, if it is asked as the protocol says.
fn action<'a>(method: &Method, headers: &'a HeaderMap) -> Result<&'a str, String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if method != Method::POST {
        return Err(format!("the method is {method}"));
    }
    if header("content-type") != CONTENT_TYPE {
        return Err(format!("the content type is {:?}", header("content-type")));
    }
    if headers.contains_key("content-encoding") {
        return Err(format!("the content encoding is {:?}", header("content-encoding")));
    }
    if !header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=") {
        return Err("the call is not signed".to_owned());
    }
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    target.strip_prefix("Logs_20140328.").ok_or_else(|| format!("the target is {target:?}"))
}

/// A call without an outcome; gets it when this is dropped.
struct Open<'a> {
    state: &'a watch::Sender<State>,
    call: Option<usize>,
    outcome: Outcome,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(index) = self.call else { return };
        let outcome = self.outcome.clone();
        self.state.send_modify(|state| {
            if let Some(call) = state.call_at(index) {
                call.ended = Some(Instant::now());
                call.outcome = outcome;
            }
        });
    }
}

fn response(status: u16, body: String) -> http::server::Reply {
    let mut reply = http::server::reply(status, CONTENT_TYPE, body);
    if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        reply.headers_mut().insert("x-amzn-requestid", id);
    }
    reply
}
