//! API Gateway in front of the HTTP functions: CORS, then the routes, then the authorizer, then the function.

use std::time::Duration;

use common::http::server::{Reply, body, reply_json};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use lambda_stand_in::gateway::Response;
use serde_json::json;

use super::authorizer::Authorizer;
use super::cors::Cors;
use super::invoke::Lambda;
use super::routing::routed;

/// What API Gateway accepts of a request.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// How long API Gateway waits for a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub struct Gateway {
    pub cors: Cors,
    /// Without one, the functions alone verify tokens.
    pub authorizer: Option<Authorizer>,
}

impl Gateway {
    pub(super) async fn answer(&self, lambda: &Lambda, asked: Parts, sent: Incoming) -> Reply {
        if let Some(preflight) = self.cors.preflight(&asked) {
            return preflight;
        }
        let mut answer = self.routed(lambda, &asked, sent).await;
        self.cors.allow(&asked.headers, answer.headers_mut());
        answer
    }

    async fn routed(&self, lambda: &Lambda, asked: &Parts, sent: Incoming) -> Reply {
        let Some((function, request)) = routed(asked) else { return gateway_reply(404, "Not Found") };
        if let Some(refusal) = self.authorizer.as_ref().and_then(|one| one.refusal(&asked.headers)) {
            let mut refused = gateway_reply(401, "Unauthorized");
            let value = HeaderValue::from_str(&refusal).expect("a refusal is ASCII");
            refused.headers_mut().insert(WWW_AUTHENTICATE, value);
            return refused;
        }
        let Ok(sent) = body(HttpRequest::new(sent), MAX_BODY).await else {
            return gateway_reply(413, "Request Entity Too Large");
        };
        let user_agent = asked.headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let request = request.client("127.0.0.1", &user_agent.unwrap_or_default());
        let request = if sent.is_empty() { request } else { request.body(sent) };

        let Ok(answer) = lambda.invoke(function, request.event().to_string(), INTEGRATION_TIMEOUT).await
        else {
            return gateway_reply(503, "Service Unavailable");
        };
        let result = answer.status.is_success().then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        let response = result.and_then(|result| Response::read(result, Duration::ZERO).ok());
        response.and_then(function_reply).unwrap_or_else(|| gateway_reply(500, "Internal Server Error"))
    }
}

/// A response that API Gateway generates itself.
fn gateway_reply(status: u16, message: &str) -> Reply {
    reply_json(status, &json!({"message": message}))
}

fn function_reply(response: Response) -> Option<Reply> {
    let mut answer = HttpResponse::builder().status(response.status);
    for (name, value) in response.headers {
        // API Gateway ignores the CORS headers of a function once it has its own.
        if !name.starts_with("access-control-") {
            answer = answer.header(HeaderName::try_from(name).ok()?, value);
        }
    }
    answer.body(response.text.into()).ok()
}
