//! The HTTP server below every stand-in.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::error::Result;
use crate::listener::{ANY, Listener};

pub type Reply = Response<Full<Bytes>>;

/// A server, on a free port of the loopback interface unless told otherwise. Dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Server(Listener);

impl Server {
    /// Starts it. A handler that returns an error cuts the connection without an answer.
    pub async fn start<H, F, E>(handle: H) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<Reply, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        Self::start_at(ANY, handle).await
    }

    /// Starts it at an address.
    pub async fn start_at<H, F, E>(address: SocketAddr, handle: H) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<Reply, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        let handle = Arc::new(handle);
        let serve = move |stream| {
            let handle = Arc::clone(&handle);
            async move {
                let service = service_fn(|request| handle(request));
                let http = hyper::server::conn::http1::Builder::new();
                // A client that goes away is no event here.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        };
        Listener::start(address, serve).await.map(Self)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Its address, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// How many connections there were so far, whatever was sent on them.
    pub fn connections(&self) -> usize {
        self.0.connections()
    }

    /// Cuts all connections, also those that are idle.
    pub fn cut_connections(&self) {
        self.0.cut_connections();
    }

    /// Closes it, and waits for its end: from then on connections to its address are refused.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// The whole body of a request.
pub async fn body(
    request: Request<Incoming>,
    limit: usize,
) -> std::result::Result<Bytes, Box<dyn StdError + Send + Sync>> {
    Ok(Limited::new(request.into_body(), limit).collect().await?.to_bytes())
}

/// An answer with a status, a content type and a body; none for an empty content type.
pub fn reply(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).expect("handlers answer with a valid status");
    if !content_type.is_empty() {
        let value = hyper::header::HeaderValue::from_static(content_type);
        reply.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    }
    reply
}

/// An answer with a JSON body.
pub fn reply_json(status: u16, body: &Value) -> Reply {
    reply(status, "application/json", body.to_string())
}
