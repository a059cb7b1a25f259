//! A request as the handlers see it, read from API Gateway's event (HTTP API, payload format 2.0).
//!
//! The event is read here rather than by `lambda_http`'s own conversion, which panics on some events that are not legal
//! HTTP; here they are answered with 400.

use lambda_http::http::HeaderMap;
use serde_json::{Map, Value};

use super::body::{self, MAX_BODY_BYTES};
use super::event::{Event, EventError};
use super::input::Input;
use super::json;
use super::problem::Problem;
use super::query::Query;
use crate::domain::admin::CallContext;
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{Cancellation, NewSchedule};
use crate::domain::time::Timestamp;
use crate::ports::schedules::PageQuery;

/// What is kept of a request id, in characters. An audit event must stay small, whatever a gateway or a client sends.
const REQUEST_ID_MAX: usize = 200;
/// What is kept of the caller's address and of `User-Agent`, in characters.
const CALLER_MAX: usize = 1_000;

/// API Gateway's request id, also of an event that cannot be read otherwise; `None` where there is none.
#[must_use]
pub fn gateway_request_id(event: &Value) -> Option<&str> {
    let id = event["requestContext"]["requestId"].as_str().filter(|id| !id.is_empty())?;
    Some(truncate(id, REQUEST_ID_MAX))
}

/// The first `max` characters.
fn truncate(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// A request.
#[derive(Debug)]
pub struct Request {
    path_parameters: Map<String, Value>,
    query: Query,
    /// The headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
    /// Where the call came from.
    pub call: CallContext,
}

impl Request {
    /// Reads an event; `request_id` is what the call is known by.
    ///
    /// # Errors
    /// [`Problem::MalformedRequest`].
    pub fn read(event: Value, request_id: &str) -> Result<Self, Problem> {
        let event = Event::read(event)?;
        let kept = |text: Option<String>| {
            text.filter(|text| !text.is_empty()).map(|text| truncate(&text, CALLER_MAX).to_owned())
        };
        let call = CallContext {
            request_id: truncate(request_id, REQUEST_ID_MAX).to_owned(),
            source_ip: kept(event.source_ip),
            user_agent: kept(event.user_agent),
        };
        // PostgreSQL cannot store it, and HTTP has no place for it.
        let texts = [
            ("requestContext.requestId", Some(&call.request_id)),
            ("requestContext.http.sourceIp", call.source_ip.as_ref()),
            ("requestContext.http.userAgent", call.user_agent.as_ref()),
        ];
        for (part, text) in texts {
            if text.is_some_and(|text| text.contains('\0')) {
                return Err(EventError::Characters { part: part.to_owned() }.into());
            }
        }
        Ok(Self {
            path_parameters: event.path_parameters,
            query: Query::new(event.raw_query, event.query_parameters),
            headers: event.headers,
            body: event.body,
            call,
        })
    }

    /// What a create asks for.
    ///
    /// # Errors
    /// Every error in path, query, headers and body at once.
    pub fn new_schedule(&self, now: Timestamp) -> Result<NewSchedule, Problem> {
        let body = self.json_body()?;
        let mut input = self.input(&["environment"]);
        let flag = input.flag();
        let key = input.idempotency_key();
        // A late retry is still a replay: with a key, the database looks it up before it checks the time.
        let not_before = if key.is_some() { None } else { Some(now) };
        let schedule = body::new_schedule(&body, flag, key, not_before, &mut input.errors);
        input.finish(schedule).map_err(Problem::Invalid)
    }

    /// What a list asks for.
    ///
    /// # Errors
    /// Every error in path and query at once.
    pub fn page(&self) -> Result<(FlagAddress, PageQuery), Problem> {
        let mut input = self.input(&["environment", "status", "limit", "cursor"]);
        let flag = input.flag();
        let status = input.status();
        let limit = input.limit();
        let after = input.cursor(flag.as_ref(), status);
        let page = flag.map(|flag| (flag, PageQuery { status, limit, after }));
        input.finish(page).map_err(Problem::Invalid)
    }

    /// What a cancel asks for. The reason is in the query or in a body, not in both.
    ///
    /// # Errors
    /// Every error in path, query and body at once.
    pub fn cancellation(&self) -> Result<Cancellation, Problem> {
        let body = if self.body.is_empty() { None } else { Some(self.json_body()?) };
        let mut input = self.input(&["environment", "reason"]);
        let flag = input.flag();
        let id = input.schedule_id();
        let in_query = input.reason();
        let in_body = body.and_then(|body| body::cancel_reason(&body, &mut input.errors));
        if in_query.is_some() && in_body.is_some() {
            input.reject("reason", "must be given in the query or in the body, not in both");
        }
        let reason = in_query.or(in_body);
        let cancellation = flag.zip(id).map(|(flag, id)| Cancellation { flag, id, reason });
        input.finish(cancellation).map_err(Problem::Invalid)
    }

    fn input(&self, known: &[&str]) -> Input<'_> {
        Input::new(&self.path_parameters, &self.query, &self.headers, known)
    }

    fn json_body(&self) -> Result<Value, Problem> {
        let mut types = self.headers.get_all("content-type").iter();
        let is_json = match (types.next().and_then(|value| value.to_str().ok()), types.next()) {
            (Some(value), None) => value
                .split(';')
                .next()
                .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")),
            _ => false,
        };
        if !is_json {
            return Err(Problem::UnsupportedMediaType);
        }
        if self.body.len() > MAX_BODY_BYTES {
            return Err(Problem::BodyTooLarge);
        }
        if self.body.is_empty() {
            return Err(Problem::InvalidJson("the body is empty".to_owned()));
        }
        json::parse(&self.body).map_err(|error| Problem::InvalidJson(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_ends_between_two_characters() {
        assert_eq!(truncate("", 3), "");
        assert_eq!(truncate("é🎉x", 3), "é🎉x");
        assert_eq!(truncate("é🎉xy", 2), "é🎉");
        assert_eq!(
            gateway_request_id(&serde_json::json!({"requestContext": {"requestId": "ü".repeat(201)}})),
            Some(&*"ü".repeat(200))
        );
    }
}
