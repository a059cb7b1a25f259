//! An HTTP server that gives one answer to everything and keeps what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use serde_json::Value;

use super::server::{Server, body, reply};

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct Recorder {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    /// The body as JSON; null when it is not.
    pub body: Value,
    pub bytes: usize,
}

#[derive(Debug)]
struct State {
    status: u16,
    body: Bytes,
    asked: Vec<Asked>,
}

impl Recorder {
    pub async fn answering(status: u16, body: impl Into<Bytes>) -> Self {
        let state = Arc::new(Mutex::new(State { status, body: body.into(), asked: Vec::new() }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let state = Arc::clone(&shared);
            async move {
                let asked = read(request).await;
                let mut state = lock(&state);
                state.asked.push(asked);
                Ok::<_, Infallible>(reply(state.status, "", state.body.clone()))
            }
        });
        let server = server.await.unwrap_or_else(|error| panic!("{error}"));
        Self { server, state }
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    pub fn answer_with(&self, status: u16, body: impl Into<Bytes>) {
        let mut state = lock(&self.state);
        (state.status, state.body) = (status, body.into());
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// How many connections there were, whatever was sent on them.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Ends it, and waits for its end.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(request: Request<Incoming>) -> Asked {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let body = body(request, usize::MAX).await.unwrap_or_default();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Asked { method, target, headers, body: json, bytes: body.len() }
}
