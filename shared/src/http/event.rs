//! API Gateway events (HTTP API, payload format 2.0), reduced to the parts that requests need. Parsed by hand because
//! `aws_lambda_events` also parses unused parts: authorizer claims or cookies in an unexpected form must not fail a
//! request. null counts as missing.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventError {
    #[error(
        "the function was not invoked by an API Gateway HTTP API (the event has no `requestContext.http`); send the event of one, in payload format 2.0"
    )]
    NotApiGateway,
    #[error("the event has payload format 1.0; set the integration's payload format version to 2.0")]
    PayloadFormat,
    #[error("`{part}` must be {expected}")]
    WrongType {
        /// A path into the event.
        part: String,
        expected: &'static str,
    },
    #[error("`{part}` contains characters that HTTP does not allow")]
    Characters {
        /// A path into the event.
        part: String,
    },
    #[error("`headers` contains `{name}` twice, in different case")]
    HeaderTwice {
        /// In lower case.
        name: String,
    },
    #[error("`body` is not base64, though `isBase64Encoded` is true")]
    NotBase64,
}

#[derive(Debug)]
pub(super) struct Event {
    pub headers: HeaderMap,
    /// Only tells routes of one function apart; empty unless it is text.
    pub path: String,
    pub path_parameters: Map<String, Value>,
    pub raw_query: String,
    pub query_parameters: Option<Map<String, Value>>,
    pub body: Vec<u8>,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
}

impl Event {
    /// Fails on the first part that cannot be read.
    pub fn read(event: Value) -> Result<Self, EventError> {
        let Value::Object(mut event) = event else { return Err(EventError::NotApiGateway) };
        if is_format_1(&event) {
            return Err(EventError::PayloadFormat);
        }
        let mut context = object(&mut event, "", "requestContext")?.ok_or(EventError::NotApiGateway)?;
        let mut http = object(&mut context, "requestContext.", "http")?.ok_or(EventError::NotApiGateway)?;
        // Check the type only: the caller has read the value already.
        text(&mut context, "requestContext.", "requestId")?;
        Ok(Self {
            path: event.get("rawPath").and_then(Value::as_str).unwrap_or_default().to_owned(),
            headers: headers(object(&mut event, "", "headers")?.unwrap_or_default())?,
            path_parameters: object(&mut event, "", "pathParameters")?.unwrap_or_default(),
            raw_query: text(&mut event, "", "rawQueryString")?.unwrap_or_default(),
            query_parameters: object(&mut event, "", "queryStringParameters")?,
            body: body(&mut event)?,
            source_ip: text(&mut http, "requestContext.http.", "sourceIp")?,
            user_agent: text(&mut http, "requestContext.http.", "userAgent")?,
        })
    }
}

/// Also true for REST API events. `cargo lambda watch` sends format 2.0 with an `httpMethod`.
fn is_format_1(event: &Map<String, Value>) -> bool {
    let has = |name: &str| event.get(name).is_some_and(|value| !value.is_null());
    let has_http = event.get("requestContext").is_some_and(|context| !context["http"].is_null());
    match event.get("version").and_then(Value::as_str) {
        Some("1.0") => true,
        Some("2.0") => false,
        _ => !has_http && (has("httpMethod") || has("resource")),
    }
}

fn take(parent: &mut Map<String, Value>, name: &str) -> Option<Value> {
    parent.get_mut(name).map(Value::take).filter(|value| !value.is_null())
}

fn wrong_type(path: &str, name: &str, expected: &'static str) -> EventError {
    EventError::WrongType { part: format!("{path}{name}"), expected }
}

fn object(
    parent: &mut Map<String, Value>,
    path: &str,
    name: &str,
) -> Result<Option<Map<String, Value>>, EventError> {
    match take(parent, name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(wrong_type(path, name, "an object")),
    }
}

fn text(parent: &mut Map<String, Value>, path: &str, name: &str) -> Result<Option<String>, EventError> {
    match take(parent, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(path, name, "a string")),
    }
}

fn body(event: &mut Map<String, Value>) -> Result<Vec<u8>, EventError> {
    let is_base64 = match take(event, "isBase64Encoded") {
        None => false,
        Some(Value::Bool(is_base64)) => is_base64,
        Some(_) => return Err(wrong_type("", "isBase64Encoded", "a boolean")),
    };
    let body = text(event, "", "body")?.unwrap_or_default();
    if is_base64 { STANDARD.decode(body).map_err(|_| EventError::NotBase64) } else { Ok(body.into_bytes()) }
}

/// Rejects names that differ only in case: choosing one value would be a guess, and two `Authorization` headers must
/// not pass for one. A list of values means that the header was sent several times.
fn headers(members: Map<String, Value>) -> Result<HeaderMap, EventError> {
    let mut headers = HeaderMap::with_capacity(members.len());
    let mut seen = HashSet::with_capacity(members.len());
    for (name, value) in members {
        let part = || format!("headers.{name}");
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| EventError::Characters { part: part() })?;
        if !seen.insert(parsed.clone()) {
            return Err(EventError::HeaderTwice { name: parsed.to_string() });
        }
        let values = match value {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let value = value.as_str().ok_or_else(|| wrong_type("headers.", &name, "a string"))?;
            let value: HeaderValue = value.parse().map_err(|_| EventError::Characters { part: part() })?;
            headers.append(&parsed, value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An event in which every used part is there, with one part changed.
    fn event(pointer: &str, value: Value) -> Value {
        let mut event = json!({
            "version": "2.0",
            "rawQueryString": "environment=staging",
            "headers": {"content-type": "application/json"},
            "queryStringParameters": {"environment": "staging"},
            "pathParameters": {"flagKey": "a"},
            "requestContext": {
                "http": {"method": "POST", "sourceIp": "203.0.113.7", "userAgent": "curl"},
                "requestId": "r-1",
            },
            "body": "{}",
            "isBase64Encoded": false,
        });
        if let Some((parent, name)) = pointer.rsplit_once('/') {
            event.pointer_mut(parent).unwrap()[name] = value;
        }
        event
    }

    fn refusal(event: Value) -> String {
        Event::read(event).unwrap_err().to_string()
    }

    #[test]
    fn the_used_parts_are_read() {
        let event = Event::read(event("", Value::Null)).unwrap();

        assert_eq!(event.headers["content-type"], "application/json");
        assert_eq!(event.path_parameters["flagKey"], "a");
        assert_eq!(event.raw_query, "environment=staging");
        assert_eq!(event.query_parameters.unwrap()["environment"], "staging");
        assert_eq!(event.body, b"{}");
        assert_eq!(event.source_ip.as_deref(), Some("203.0.113.7"));
        assert_eq!(event.user_agent.as_deref(), Some("curl"));
    }

    #[test]
    fn parts_that_are_not_used_may_hold_anything() {
        let anything = [json!(null), json!(1), json!("x"), json!([1, [2]]), json!({"a": {"b": [1]}})];
        let unused = [
            "/cookies",
            "/stageVariables",
            "/routeKey",
            "/rawPath",
            "/version",
            "/authorizationToken",
            "/type",
            "/httpMethod",
            "/resource",
            "/methodArn",
            "/requestContext/authorizer",
            "/requestContext/authentication",
            "/requestContext/timeEpoch",
            "/requestContext/stage",
            "/requestContext/http/method",
            "/requestContext/http/protocol",
        ];
        for part in unused {
            for value in &anything {
                assert!(Event::read(event(part, value.clone())).is_ok(), "{part}: {value}");
            }
        }
    }

    #[test]
    fn a_used_part_of_another_type_is_named() {
        let objects = [
            "/headers",
            "/pathParameters",
            "/queryStringParameters",
            "/requestContext",
            "/requestContext/http",
        ];
        let texts = [
            "/rawQueryString",
            "/body",
            "/headers/content-type",
            "/requestContext/requestId",
            "/requestContext/http/sourceIp",
            "/requestContext/http/userAgent",
        ];
        for value in [json!(1), json!(true), json!("x"), json!([1])] {
            for part in objects {
                let named = part[1..].replace('/', ".");
                assert_eq!(refusal(event(part, value.clone())), format!("`{named}` must be an object"));
            }
            for part in texts.into_iter().filter(|_| !value.is_string()) {
                let named = part[1..].replace('/', ".");
                assert_eq!(refusal(event(part, value.clone())), format!("`{named}` must be a string"));
            }
        }
        assert_eq!(refusal(event("/isBase64Encoded", json!("true"))), "`isBase64Encoded` must be a boolean");
    }

    #[test]
    fn null_is_the_same_as_missing() {
        for part in [
            "/headers",
            "/headers/content-type",
            "/pathParameters",
            "/rawQueryString",
            "/queryStringParameters",
            "/body",
            "/isBase64Encoded",
            "/requestContext/requestId",
            "/requestContext/http/sourceIp",
            "/requestContext/http/userAgent",
        ] {
            let with_null = event(part, Value::Null);
            let mut without = with_null.clone();
            let (parent, name) = part.rsplit_once('/').unwrap();
            without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);

            let [with_null, without] =
                [with_null, without].map(|event| format!("{:?}", Event::read(event).unwrap()));
            assert_eq!(with_null, without, "{part}");
        }
    }

    #[test]
    fn what_is_no_event_of_an_http_api_is_told_what_to_send() {
        let other = [
            json!(null),
            json!("hello"),
            json!([]),
            json!({}),
            json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}),
            json!({"requestContext": {"connectionId": "a", "eventType": "CONNECT"}}),
            json!({"Records": [{"body": "{}"}]}),
            event("/requestContext", Value::Null),
        ];
        for event in other {
            assert_eq!(Event::read(event.clone()).unwrap_err(), EventError::NotApiGateway, "{event}");
        }
        for event in [
            json!({"version": "1.0"}),
            json!({"httpMethod": "GET"}),
            json!({"resource": "/{proxy+}", "requestContext": {"identity": {}}}),
            event("/version", json!("1.0")),
        ] {
            assert!(refusal(event).contains("payload format version to 2.0"));
        }
    }

    #[test]
    fn headers_are_checked() {
        let mut twice = event("/headers/A-B", json!("1"));
        twice["headers"]["a-b"] = json!("2");
        assert_eq!(refusal(twice), "`headers` contains `a-b` twice, in different case");
        assert_eq!(
            refusal(event("/headers/x", json!("a\nb"))),
            "`headers.x` contains characters that HTTP does not allow"
        );
        assert_eq!(
            refusal(event("/headers/x y", json!("1"))),
            "`headers.x y` contains characters that HTTP does not allow"
        );
        let several = Event::read(event("/headers/x", json!(["1", "2"]))).unwrap();
        assert_eq!(several.headers.get_all("x").iter().count(), 2);
    }

    #[test]
    fn a_body_is_decoded_as_it_says() {
        let mut encoded = event("/isBase64Encoded", json!(true));
        encoded["body"] = json!("aGk=");
        assert_eq!(Event::read(encoded.clone()).unwrap().body, b"hi");
        encoded["body"] = json!("not base64!");
        assert_eq!(Event::read(encoded).unwrap_err(), EventError::NotBase64);
    }
}
