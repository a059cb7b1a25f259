//! The service of a test behind HTTP, as API Gateway puts it there: for clients that speak HTTP and nothing else.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use local_stack::front::routing::routed;
use serde_json::json;

use crate::api::Api;
use crate::background;
use crate::gateway::Response;
use crate::http::server::{Reply, Server, reply_json};

/// The server. Dropping it ends it and all its connections.
#[derive(Debug)]
pub struct Front(Server);

impl Front {
    /// Starts it on a free port of this machine.
    pub async fn of(api: Arc<Api>) -> Self {
        let server = Server::start(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(answer(api, request).await) }
        });
        Self(server.await.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Its address, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        self.0.url()
    }
}

async fn answer(api: Arc<Api>, request: HttpRequest<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let Some((_, request)) = routed(&parts) else {
        return reply_json(404, &json!({"message": "Not Found"}));
    };
    let request = if body.is_empty() { request } else { request.body(body) };
    // A task of its own: a failed check, or a function that failed, is told to the client too.
    match background::spawn(async move { api.send(&request).await }).await {
        Ok(Response { status, headers, text, .. }) => {
            response(status, &headers.into_iter().collect::<Vec<_>>(), text)
        }
        Err(failed) => {
            let why = failed.try_into_panic().ok().and_then(|panic| panic.downcast::<String>().ok());
            response(500, &[], why.map_or_else(|| "the harness failed".to_owned(), |why| *why))
        }
    }
}

fn response(status: u16, headers: &[(String, String)], text: String) -> Reply {
    let builder = headers
        .iter()
        .fold(HttpResponse::builder().status(status), |builder, (name, value)| builder.header(name, value));
    builder.body(Full::new(text.into())).expect("a function's answer can be sent over HTTP")
}
