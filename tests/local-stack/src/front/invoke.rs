//! Lambda's invoke API, `/2015-03-31/functions/<name>/invocations`, which the front forwards.

use std::time::Duration;

use common::http::server::{Reply, body, reply_json};
use common::http::{self, Answer};
use common::{Error, Result};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use serde_json::json;

use crate::endpoints::FUNCTIONS;

/// Lambda's limit for any function.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// Where the functions can be invoked, such as `http://127.0.0.1:34567`.
#[derive(Clone, Debug)]
pub(super) struct Lambda(pub(super) String);

impl Lambda {
    pub(super) async fn invoke(
        &self,
        function: &str,
        event: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Answer> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.0);
        http::send(Method::POST, &url, &[("content-type", "application/json")], event, limit).await
    }

    /// Forwards an invocation and its result unchanged.
    pub(super) async fn forward(&self, function: &str, sent: Incoming) -> Reply {
        if !FUNCTIONS.contains(&function) {
            // It would wait for ever.
            let message = format!("Function not found: {function}");
            return reply_json(404, &json!({"Type": "User", "Message": message}));
        }
        let invoked = match body(Request::new(sent), usize::MAX).await {
            Ok(event) => self.invoke(function, event, LONGEST_INVOCATION).await,
            Err(error) => Err(Error::because("the event did not arrive", error)),
        };
        let answer = match invoked {
            Ok(answer) => answer,
            Err(error) => return reply_json(502, &json!({"Type": "Service", "Message": error.to_string()})),
        };
        let mut reply = Response::new(answer.body.into());
        (*reply.status_mut(), *reply.headers_mut()) = (answer.status, answer.headers);
        // Hop-by-hop: of the other connection.
        for name in [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING] {
            reply.headers_mut().remove(name);
        }
        reply
    }
}

/// The function that a request invokes.
pub(super) fn function_of(asked: &Parts) -> Option<&str> {
    let path = asked.uri.path().strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?;
    (asked.method == Method::POST).then_some(path)
}
