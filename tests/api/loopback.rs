//! A small HTTP server on this machine that gives one answer to everything and keeps what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness::background;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The server. Dropping it ends it: from then on connections to its address are refused.
pub struct Loopback {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// One request, in short.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `GET /jwks.json`.
    pub what: String,
    /// The body as JSON; null when it is not.
    pub body: Value,
}

struct State {
    status: u16,
    body: Vec<u8>,
    connections: usize,
    asked: Vec<Asked>,
}

impl Loopback {
    /// Starts it.
    pub async fn answering(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let state = State { status, body: body.into(), connections: 0, asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("this machine has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::clone(&state);
        let task = background::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                lock(&shared).connections += 1;
                connections.spawn(serve(Arc::clone(&shared), stream));
            }
        });
        Self { address, state, task }
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Changes the answer.
    pub fn answer_with(&self, status: u16, body: impl Into<Vec<u8>>) {
        let mut state = lock(&self.state);
        (state.status, state.body) = (status, body.into());
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// How many connections there were, whatever was said on them.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Ends it, and waits for its end.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(state: Arc<Mutex<State>>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let what = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
            let mut state = lock(&state);
            state.asked.push(Asked { what, body });
            let mut response = Response::new(Full::new(Bytes::from(state.body.clone())));
            *response.status_mut() = state.status.try_into().expect("a status code");
            Ok::<_, Infallible>(response)
        }
    });
    // A client that goes away is no event here.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
