//! A request as the handlers see it, read from API Gateway's event (HTTP API, payload format 2.0).
//!
//! The event is read here rather than by `lambda_http`'s own conversion, which panics on some events that are not legal
//! HTTP; here they are answered with 400.

use std::collections::HashMap;

use lambda_http::http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::body;
use super::cursor;
use super::event::{Event, EventError};
use super::json;
use super::problem::{InputFault, Problem};
use super::query::{self, Query};
use crate::domain::admin::CallContext;
use crate::domain::flag::{Environment, FlagAddress, FlagKey};
use crate::domain::schedule::{IdempotencyKey, NewSchedule, REASON_MAX, ScheduleId, Status};
use crate::domain::step::PageQuery;
use crate::domain::text::check_prose;
use crate::domain::time::Timestamp;

/// The largest body, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The largest page.
pub const MAX_LIMIT: u16 = 200;
/// The page size when none is asked for.
pub const DEFAULT_LIMIT: u16 = 50;

/// What is kept of a request id, in characters. An audit event must stay small, whatever a gateway or a client sends.
const REQUEST_ID_MAX: usize = 200;
/// What is kept of the caller's address and of `User-Agent`, in characters.
const CALLER_MAX: usize = 1_000;

/// API Gateway's request id, also of an event that cannot be read otherwise; `None` where there is none.
#[must_use]
pub fn gateway_request_id(event: &Value) -> Option<&str> {
    let id = event["requestContext"]["requestId"].as_str().filter(|id| !id.is_empty())?;
    Some(cut(id, REQUEST_ID_MAX))
}

/// The first `max` characters.
fn cut(text: &str, max: usize) -> &str {
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
            text.filter(|text| !text.is_empty()).map(|text| cut(&text, CALLER_MAX).to_owned())
        };
        let call = CallContext {
            request_id: cut(request_id, REQUEST_ID_MAX).to_owned(),
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
    /// Every fault of path, query and body at once.
    pub fn creation(
        &self,
        now: Timestamp,
    ) -> Result<(FlagAddress, NewSchedule, Option<IdempotencyKey>), Problem> {
        let value = self.json_body()?;
        let mut input = self.input(&["environment"]);
        let flag = input.flag();
        let key = input.idempotency_key();
        // A late retry is still a replay: with a key, the database looks it up before the time is judged.
        let not_before = if key.is_some() { None } else { Some(now) };
        let schedule =
            body::new_schedule(&value, not_before).map_err(|faults| input.faults.extend(faults)).ok();
        input.finish(flag.zip(schedule).map(|(flag, schedule)| (flag, schedule, key)))
    }

    /// What a list asks for.
    ///
    /// # Errors
    /// Every fault of path and query at once.
    pub fn page(&self) -> Result<(FlagAddress, PageQuery), Problem> {
        let mut input = self.input(&["environment", "status", "limit", "cursor"]);
        let flag = input.flag();
        let status = input.status();
        let limit = input.limit();
        let after = input.cursor(flag.as_ref(), status);
        input.finish(flag.map(|flag| (flag, PageQuery { status, limit, after })))
    }

    /// What a cancel asks for. The reason is in the query or in a body, not in both.
    ///
    /// # Errors
    /// Every fault of path, query and body at once.
    pub fn cancellation(&self) -> Result<(FlagAddress, ScheduleId, Option<String>), Problem> {
        let value = if self.body.is_empty() { None } else { Some(self.json_body()?) };
        let mut input = self.input(&["environment", "reason"]);
        let flag = input.flag();
        let id = input.schedule_id();
        let in_query = input.reason();
        let in_body = value.map_or(Ok(None), |value| body::cancel_reason(&value));
        let in_body = in_body.unwrap_or_else(|faults| {
            input.faults.extend(faults);
            None
        });
        if in_query.is_some() && in_body.is_some() {
            input.refuse("reason", "must be given in the query or in the body, not in both");
        }
        let reason = in_query.or(in_body);
        input.finish(flag.zip(id).map(|(flag, id)| (flag, id, reason)))
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

    fn input(&self, known: &[&str]) -> Input<'_> {
        let mut input = Input { request: self, query: HashMap::new(), faults: Vec::new() };
        for (name, value) in self.query.pairs() {
            let Some(name) = query::decode(name) else {
                input.refuse("query", "is not UTF-8 after percent decoding");
                continue;
            };
            if !known.contains(&name.as_str()) {
                let known = known.join("`, `");
                input.refuse(&name, format!("is not a known query parameter; there are `{known}`"));
            } else if input.query.contains_key(&name) {
                input.refuse(&name, "must not be given twice");
            } else if let Some(value) = query::decode(value) {
                input.query.insert(name, value);
            } else {
                input.refuse(&name, "is not UTF-8 after percent decoding");
                input.query.insert(name, String::new());
            }
        }
        for (name, detail) in self.query.differences() {
            input.refuse(&name, detail);
        }
        input
    }
}

/// Reads parameters and collects what is wrong with them.
struct Input<'a> {
    request: &'a Request,
    query: HashMap<String, String>,
    faults: Vec<InputFault>,
}

impl Input<'_> {
    fn refuse(&mut self, parameter: &str, detail: impl Into<String>) {
        let fault = InputFault::in_parameter(parameter, detail);
        // One fault a parameter: the first is the one to correct first.
        if !self.faults.iter().any(|other| other.place == fault.place) {
            self.faults.push(fault);
        }
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Problem::Invalid(self.faults)),
        }
    }

    /// A path parameter. Gateways differ in whether they hand it over decoded, so valid percent escapes are decoded
    /// here, once, whoever sent them.
    fn path_parameter(&mut self, name: &str) -> Option<String> {
        let raw = match self.request.path_parameters.get(name) {
            Some(Value::String(raw)) => raw,
            None | Some(Value::Null) => {
                self.refuse(name, "is missing from the path");
                return None;
            }
            Some(_) => {
                self.refuse(name, format!("`pathParameters.{name}` must be a string"));
                return None;
            }
        };
        let decoded = percent_decode_str(raw).decode_utf8().ok().map(|text| text.into_owned());
        if decoded.is_none() {
            self.refuse(name, "is not UTF-8 after percent decoding");
        }
        decoded
    }

    fn flag(&mut self) -> Option<FlagAddress> {
        let key = self.path_parameter("flagKey").and_then(|text| {
            FlagKey::parse(text).map_err(|error| self.refuse("flagKey", error.to_string())).ok()
        });
        let environment = match self.query.get("environment").cloned() {
            None => Some(Environment::default()),
            Some(text) => {
                Environment::parse(text).map_err(|error| self.refuse("environment", error.to_string())).ok()
            }
        };
        key.zip(environment).map(|(key, environment)| FlagAddress { key, environment })
    }

    fn schedule_id(&mut self) -> Option<ScheduleId> {
        let text = self.path_parameter("scheduleId")?;
        // The hyphenated form of RFC 9562 only: one schedule has one address.
        let id = (text.len() == 36).then(|| Uuid::try_parse(&text).ok()).flatten();
        if id.is_none() {
            self.refuse("scheduleId", "must be a UUID such as 0197c2f0-6a5b-7c3d-8e4f-0123456789ab");
        }
        id.map(ScheduleId)
    }

    fn idempotency_key(&mut self) -> Option<IdempotencyKey> {
        let mut values = self.request.headers.get_all("idempotency-key").iter();
        let value = values.next()?;
        let key = value.to_str().ok().and_then(IdempotencyKey::parse);
        if key.is_none() || values.next().is_some() {
            let detail = "must be given once, with 1 to 128 printable ASCII characters";
            self.faults.push(InputFault::in_header("Idempotency-Key", detail));
        }
        key
    }

    fn status(&mut self) -> Option<Status> {
        let text = self.query.get("status")?;
        let status = Status::parse(text);
        if status.is_none() {
            let words = Status::ALL.map(Status::as_str).join("`, `");
            self.refuse("status", format!("must be one of `{words}`"));
        }
        status
    }

    fn limit(&mut self) -> u16 {
        let Some(text) = self.query.get("limit") else { return DEFAULT_LIMIT };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(limit) if digits && (1..=MAX_LIMIT).contains(&limit) => limit,
            _ => {
                self.refuse("limit", format!("must be an integer from 1 to {MAX_LIMIT}"));
                DEFAULT_LIMIT
            }
        }
    }

    fn cursor(
        &mut self,
        flag: Option<&FlagAddress>,
        status: Option<Status>,
    ) -> Option<crate::domain::step::PagePosition> {
        let text = self.query.get("cursor")?;
        let position = cursor::decode(flag?, status, text);
        if position.is_none() {
            self.refuse(
                "cursor",
                "must be the `next_cursor` of a page of this flag, environment and status, unchanged",
            );
        }
        position
    }

    fn reason(&mut self) -> Option<String> {
        let text = self.query.get("reason").cloned()?;
        if let Err(error) = check_prose(&text, REASON_MAX) {
            self.refuse("reason", error.to_string());
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_ends_between_two_characters() {
        assert_eq!(cut("", 3), "");
        assert_eq!(cut("é🎉x", 3), "é🎉x");
        assert_eq!(cut("é🎉xy", 2), "é🎉");
        assert_eq!(
            gateway_request_id(&serde_json::json!({"requestContext": {"requestId": "ü".repeat(201)}})),
            Some(&*"ü".repeat(200))
        );
    }
}
