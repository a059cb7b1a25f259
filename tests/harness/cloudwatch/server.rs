//! The wire: AWS JSON 1.1 over HTTP, as strict about it as the service is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::record::Outcome;
use super::state::{Plan, Reply, State};
use crate::background;
use crate::error::{Doing, Result};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The server. Dropping it ends it and all its connections.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(state: Arc<watch::Sender<State>>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.doing(|| "cannot listen".to_owned())?;
        let address = listener.local_addr().doing(|| "cannot listen".to_owned())?;
        let cuts = watch::Sender::new(());
        let cut = cuts.clone();
        let task = background::spawn(async move {
            // Connections live in this set, so that they end with this task.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Arc::clone(&state), stream, cut.subscribe()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, cuts, task })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn cut_connections(&self) {
        self.cuts.send_replace(());
    }
}

async fn serve(state: Arc<watch::Sender<State>>, stream: TcpStream, mut cut: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A connection that ends, for whatever reason, is no event here.
        _ = serving => {}
        _ = cut.changed() => {}
    }
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
) -> std::result::Result<Response<Full<Bytes>>, Hangup> {
    let (parts, body) = request.into_parts();
    // A caller that goes away in the middle of its request has asked for nothing.
    let Ok(body) = body.collect().await else { return Err(Hangup) };
    let body = body.to_bytes();
    let mut plan = None;
    state.send_modify(|state| {
        plan = Some(match action(&parts.method, &parts.headers) {
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
            tokio::time::sleep(after).await;
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
fn action<'a>(method: &Method, headers: &'a HeaderMap) -> std::result::Result<&'a str, String> {
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
            if let Some(call) = state.calls.get_mut(index) {
                call.ended = Some(Instant::now());
                call.outcome = outcome;
            }
        });
    }
}

fn response(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static(CONTENT_TYPE));
    if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}
