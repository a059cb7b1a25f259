//! The service of a test behind HTTP, as API Gateway puts it there: for clients that speak HTTP and nothing else.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use serde_json::json;

use crate::api::{Api, ENDPOINTS};
use crate::background;
use crate::gateway::{Request, Response};
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
    let Some(request) = routed(&parts, body) else {
        return reply_json(404, &json!({"message": "Not Found"}));
    };
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

/// The request for the route that fits; `None` when there is none. Path parameters stay as they were typed, as `cargo
/// lambda watch` leaves them.
fn routed(parts: &Parts, body: Vec<u8>) -> Option<Request> {
    let path = parts.uri.path();
    let (route, parameters) = ENDPOINTS.iter().find_map(|(method, route, _)| {
        let fits = parts.method.as_str() == *method;
        fits.then(|| Some((*route, parameters(route, path)?))).flatten()
    })?;
    let request = Request::new(parts.method.as_str(), route).query(parts.uri.query().unwrap_or_default());
    let mut request = request.without_header("host");
    for (name, value) in parameters {
        request = request.path_parameter(name, value);
    }
    for (name, value) in &parts.headers {
        request = request.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    Some(if body.is_empty() { request } else { request.body(body) })
}

/// What stands in a path where a route has `{name}`; `None` when the path is of another route.
fn parameters<'a>(route: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (wanted, given): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut parameters = Vec::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !given.is_empty() => parameters.push((name, given)),
            None if wanted == given => {}
            _ => return None,
        }
    }
    Some(parameters)
}
