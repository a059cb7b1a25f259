//! Where CloudFormation waits for a custom resource's answer: a web server that takes one `PUT` at a secret address.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What stands for the signature of a presigned address: whoever knows it can answer in the function's place.
pub const SIGNATURE: &str = "4f1c0ffee5ec2e7";

/// What came in.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, which must be JSON.
    pub body: Value,
    /// The body's length in bytes.
    pub bytes: usize,
}

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct CloudFormation {
    address: SocketAddr,
    answers: Arc<Mutex<Vec<Answer>>>,
    task: JoinHandle<()>,
}

impl Drop for CloudFormation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CloudFormation {
    /// Waits for answers, and takes them.
    pub async fn start() -> Self {
        Self::replying(StatusCode::OK).await
    }

    /// Waits for answers, and replies to each with this status.
    pub async fn replying(status: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let answers = Arc::default();
        let task = harness::background::spawn(accept(listener, status, Arc::clone(&answers)));
        Self { address, answers, task }
    }

    /// The address for `ResponseURL`.
    pub fn url(&self) -> String {
        format!("http://{}/bucket/answer%7C1?X-Amz-Signature={SIGNATURE}", self.address)
    }

    /// All answers so far.
    pub fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The only answer.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        match &self.answers()[..] {
            [answer] => answer.clone(),
            answers => panic!("expected one answer, got {answers:#?}"),
        }
    }
}

async fn accept(listener: TcpListener, status: StatusCode, answers: Arc<Mutex<Vec<Answer>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(|request| {
            let answers = Arc::clone(&answers);
            async move {
                let answer = read(request).await;
                answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        });
        // One client, one connection after the other: how one ends does not matter.
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

async fn read(request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Answer { method: parts.method, target, headers: parts.headers, body: json, bytes: body.len() }
}
