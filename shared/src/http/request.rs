//! Requests as the handlers see them, read from API Gateway events (HTTP API, payload format 2.0). Not with
//! `lambda_http`'s own conversion, which panics on some events that are not legal HTTP; here they get a 400.

use std::sync::OnceLock;

use lambda_http::http::HeaderMap;
use serde_json::{Map, Value};

use super::body::{self, MAX_BODY_BYTES};
use super::cursor::Scope;
use super::event::{Event, EventError};
use super::input::Input;
use super::json;
use super::problem::Problem;
use super::query::Query;
use crate::domain::admin::CallContext;
use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{Cancellation, NewSchedule, ScheduleId, Status};
use crate::domain::time::Timestamp;
use crate::ports::schedules::{AcrossFlagsQuery, PageQuery};

/// Longer request ids are truncated to this many characters: audit events must stay small, whatever a gateway or
/// client sends.
const REQUEST_ID_MAX: usize = 200;
/// The same for the caller's address and `User-Agent`.
const CALLER_MAX: usize = 1_000;

/// Works for events that are otherwise unreadable, too.
#[must_use]
pub fn gateway_request_id(event: &Value) -> Option<&str> {
    let id = event["requestContext"]["requestId"].as_str().filter(|id| !id.is_empty())?;
    Some(truncate(id, REQUEST_ID_MAX))
}

/// The first `max` characters.
fn truncate(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// What an admin wants to read.
#[derive(Debug)]
pub enum Reading {
    OneSchedule(FlagAddress, ScheduleId),
    OfFlag(FlagAddress, PageQuery),
    AcrossFlags(AcrossFlagsQuery),
}

#[derive(Debug)]
pub struct Request {
    path: String,
    path_parameters: Map<String, Value>,
    query: Query,
    pub headers: HeaderMap,
    body: Vec<u8>,
    pub call: CallContext,
    /// The caller's user id, once the token has proved it; for the log.
    pub user_id: OnceLock<String>,
}

impl Request {
    pub fn read(event: Value, request_id: &str) -> Result<Self, Problem> {
        let event = Event::read(event)?;
        let shortened = |text: Option<String>| {
            text.filter(|text| !text.is_empty()).map(|text| truncate(&text, CALLER_MAX).to_owned())
        };
        let call = CallContext {
            request_id: truncate(request_id, REQUEST_ID_MAX).to_owned(),
            source_ip: shortened(event.source_ip),
            user_agent: shortened(event.user_agent),
        };
        // PostgreSQL cannot store NUL, and HTTP does not allow it.
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
            path: event.path,
            path_parameters: event.path_parameters,
            query: Query::new(event.raw_query, event.query_parameters),
            headers: event.headers,
            body: event.body,
            call,
            user_id: OnceLock::new(),
        })
    }

    /// Reports every error in path, query, headers and body at once.
    pub fn new_schedule(&self, now: Timestamp) -> Result<NewSchedule, Problem> {
        let body = self.json_body()?;
        let mut input = self.input(&["environment"]);
        let flag = input.flag();
        let key = input.idempotency_key();
        // A late retry is still a replay: given a key, the database looks it up before it checks the time.
        let check_against = if key.is_some() { None } else { Some(now) };
        let schedule = body::new_schedule(&body, flag, key, check_against, &mut input.errors);
        input.finish(schedule).map_err(Problem::Invalid)
    }

    /// What the path asks for. Reports every error in path and query at once.
    pub fn reading(&self) -> Result<Reading, Problem> {
        if self.path_parameters.contains_key("scheduleId") {
            self.one_schedule()
        } else if self.path_parameters.is_empty() && self.path.ends_with("/schedules") {
            self.across_flags()
        } else {
            self.of_flag()
        }
    }

    fn one_schedule(&self) -> Result<Reading, Problem> {
        let mut input = self.input(&["environment"]);
        let flag = input.flag();
        let id = input.schedule_id();
        let reading = flag.zip(id).map(|(flag, id)| Reading::OneSchedule(flag, id));
        input.finish(reading).map_err(Problem::Invalid)
    }

    fn of_flag(&self) -> Result<Reading, Problem> {
        let mut input = self.input(&["environment", "status", "limit", "cursor"]);
        let flag = input.flag();
        let status = input.status();
        let limit = input.limit();
        let reading = flag.map(|flag| {
            let after = input.cursor(&Scope::of_flag(&flag, status));
            Reading::OfFlag(flag, PageQuery { status, limit, after })
        });
        input.finish(reading).map_err(Problem::Invalid)
    }

    fn across_flags(&self) -> Result<Reading, Problem> {
        let mut input = self.input(&["environment", "status", "from", "to", "order", "limit", "cursor"]);
        let environment = input.environment();
        let status = input.status().unwrap_or(Status::Pending);
        let (from, to) = (input.time("from"), input.time("to"));
        if from.zip(to).is_some_and(|(from, to)| to <= from) {
            input.reject("to", "must be later than `from`");
        }
        let (order, limit) = (input.order(), input.limit());
        let reading = environment.map(|environment| {
            let query = AcrossFlagsQuery { environment, status, from, to, order, limit, after: None };
            let after = input.cursor(&Scope::across_flags(&query));
            Reading::AcrossFlags(AcrossFlagsQuery { after, ..query })
        });
        input.finish(reading).map_err(Problem::Invalid)
    }

    /// The reason is in the query or in the body, not both. Reports every error in path, query and body at once.
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

    /// Which flag the request is about, for the log.
    #[must_use]
    pub fn flag(&self) -> Option<FlagAddress> {
        self.input(&["environment"]).flag()
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
