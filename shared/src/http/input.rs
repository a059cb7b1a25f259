//! Parses path parameters, query parameters and headers, collecting every error.

use std::collections::HashMap;

use lambda_http::http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::body::NOT_A_TIME;
use super::cursor::{self, Scope};
use super::input_error::InputError;
use super::query::{self, Query};
use crate::domain::flag::{Environment, FlagAddress, FlagKey};
use crate::domain::schedule::{IdempotencyKey, REASON_MAX, ScheduleId, Status};
use crate::domain::text::check_prose;
use crate::domain::time::Timestamp;
use crate::ports::schedules::{Order, PagePosition};

pub const MAX_LIMIT: u16 = 200;
const DEFAULT_LIMIT: u16 = 50;

pub(super) struct Input<'a> {
    path_parameters: &'a Map<String, Value>,
    query: HashMap<String, String>,
    headers: &'a HeaderMap,
    pub(super) errors: Vec<InputError>,
}

impl<'a> Input<'a> {
    /// Query parameters other than `known` are errors.
    pub(super) fn new(
        path_parameters: &'a Map<String, Value>,
        query: &Query,
        headers: &'a HeaderMap,
        known: &[&str],
    ) -> Self {
        let mut input = Self { path_parameters, query: HashMap::new(), headers, errors: Vec::new() };
        for (name, value) in query.pairs() {
            let Some(name) = query::decode(name) else {
                input.reject("query", "is not UTF-8 after percent decoding");
                continue;
            };
            if !known.contains(&name.as_str()) {
                let known = known.join("`, `");
                input.reject(&name, format!("is not a known query parameter; there are `{known}`"));
            } else if input.query.contains_key(&name) {
                input.reject(&name, "must not be given twice");
            } else if let Some(value) = query::decode(value) {
                input.query.insert(name, value);
            } else {
                input.reject(&name, "is not UTF-8 after percent decoding");
                input.query.insert(name, String::new());
            }
        }
        for (name, detail) in query.differences() {
            input.reject(&name, detail);
        }
        input
    }

    pub(super) fn reject(&mut self, parameter: &str, detail: impl Into<String>) {
        let error = InputError::in_parameter(parameter, detail);
        // Keep one error per parameter: the first is the one to fix first.
        if !self.errors.iter().any(|other| other.location == error.location) {
            self.errors.push(error);
        }
    }

    /// Fails if there were any errors.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<InputError>> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(self.errors),
        }
    }

    /// Gateways differ in whether they decode path parameters, so valid percent escapes are always decoded here,
    /// once.
    fn path_parameter(&mut self, name: &str) -> Option<String> {
        let raw = match self.path_parameters.get(name) {
            Some(Value::String(raw)) => raw,
            None | Some(Value::Null) => {
                self.reject(name, "is missing from the path");
                return None;
            }
            Some(_) => {
                self.reject(name, format!("`pathParameters.{name}` must be a string"));
                return None;
            }
        };
        let decoded = percent_decode_str(raw).decode_utf8().ok().map(|text| text.into_owned());
        if decoded.is_none() {
            self.reject(name, "is not UTF-8 after percent decoding");
        }
        decoded
    }

    pub(super) fn flag(&mut self) -> Option<FlagAddress> {
        let key = self.path_parameter("flagKey").and_then(|text| {
            FlagKey::parse(text).map_err(|error| self.reject("flagKey", error.to_string())).ok()
        });
        let environment = self.environment();
        key.zip(environment).map(|(key, environment)| FlagAddress { key, environment })
    }

    pub(super) fn environment(&mut self) -> Option<Environment> {
        let Some(text) = self.query.get("environment").cloned() else { return Some(Environment::default()) };
        Environment::parse(text).map_err(|error| self.reject("environment", error.to_string())).ok()
    }

    pub(super) fn schedule_id(&mut self) -> Option<ScheduleId> {
        let text = self.path_parameter("scheduleId")?;
        // Only the hyphenated form of RFC 9562: one schedule has one URL.
        let id = (text.len() == 36).then(|| Uuid::try_parse(&text).ok()).flatten();
        if id.is_none() {
            self.reject("scheduleId", "must be a UUID such as 0197c2f0-6a5b-7c3d-8e4f-0123456789ab");
        }
        id.map(ScheduleId)
    }

    pub(super) fn idempotency_key(&mut self) -> Option<IdempotencyKey> {
        let mut values = self.headers.get_all("idempotency-key").iter();
        let value = values.next()?;
        let key = value.to_str().ok().and_then(IdempotencyKey::parse);
        if key.is_none() || values.next().is_some() {
            let detail = "must be given once, with 1 to 128 printable ASCII characters";
            self.errors.push(InputError::in_header("Idempotency-Key", detail));
        }
        key
    }

    pub(super) fn status(&mut self) -> Option<Status> {
        let text = self.query.get("status")?;
        let status = Status::parse(text);
        if status.is_none() {
            let words = Status::ALL.map(Status::as_str).join("`, `");
            self.reject("status", format!("must be one of `{words}`"));
        }
        status
    }

    /// A decoded `+` is a space, so an offset east of Greenwich comes escaped, or else is told apart here.
    pub(super) fn time(&mut self, parameter: &str) -> Option<Timestamp> {
        let text = self.query.get(parameter)?;
        let time = Timestamp::parse(text);
        if time.is_none() {
            let hint = if text.contains(' ') { "; write `+` as `%2B`" } else { "" };
            self.reject(parameter, format!("{NOT_A_TIME}{hint}"));
        }
        time
    }

    pub(super) fn order(&mut self) -> Order {
        let Some(text) = self.query.get("order") else { return Order::default() };
        let order = Order::ALL.into_iter().find(|order| order.as_str() == text);
        if order.is_none() {
            self.reject("order", "must be `asc` or `desc`");
        }
        order.unwrap_or_default()
    }

    pub(super) fn limit(&mut self) -> u16 {
        let Some(text) = self.query.get("limit") else { return DEFAULT_LIMIT };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(limit) if digits && (1..=MAX_LIMIT).contains(&limit) => limit,
            _ => {
                self.reject("limit", format!("must be an integer from 1 to {MAX_LIMIT}"));
                DEFAULT_LIMIT
            }
        }
    }

    pub(super) fn cursor(&mut self, scope: &Scope) -> Option<PagePosition> {
        let text = self.query.get("cursor")?;
        let position = cursor::decode(scope, text);
        if position.is_none() {
            self.reject(
                "cursor",
                "must be the `next_cursor` of a page of this list, unchanged, with the same values of all parameters but `limit`",
            );
        }
        position
    }

    pub(super) fn reason(&mut self) -> Option<String> {
        let text = self.query.get("reason").cloned()?;
        if let Err(error) = check_prose(&text, REASON_MAX) {
            self.reject("reason", error.to_string());
        }
        Some(text)
    }
}
