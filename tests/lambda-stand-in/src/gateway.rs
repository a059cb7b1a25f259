//! API Gateway's HTTP API: its events in payload format 2.0, and its reading of the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::Invocation;
use common::clock;
use common::error::{Doing, Error, Result};

/// What is escaped in a path: all but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request on its way to a function.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    route: String,
    path: Option<String>,
    path_parameters: BTreeMap<String, String>,
    raw_query: String,
    headers: BTreeMap<String, String>,
    body: Option<Vec<u8>>,
    request_id: String,
    source_ip: String,
    user_agent: String,
}

impl Request {
    /// A request for a route such as `/api/admin/flags/{flagKey}/schedule`.
    pub fn new(method: &str, route: &str) -> Self {
        Self {
            method: method.to_owned(),
            route: route.to_owned(),
            path: None,
            path_parameters: BTreeMap::new(),
            raw_query: String::new(),
            headers: BTreeMap::from([("host".to_owned(), "api.example.test".to_owned())]),
            body: None,
            request_id: uuid::Uuid::new_v4().to_string(),
            source_ip: "203.0.113.7".to_owned(),
            user_agent: "harness/1.0".to_owned(),
        }
    }

    /// A parameter of the route, as the function gets it.
    #[must_use]
    pub fn path_parameter(mut self, name: &str, value: &str) -> Self {
        self.path_parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The path as typed by the client; made of the route and its parameters otherwise.
    #[must_use]
    pub fn path(self, raw: &str) -> Self {
        Self { path: Some(raw.to_owned()), ..self }
    }

    /// What follows the `?`, as typed by the client.
    #[must_use]
    pub fn query(mut self, raw: &str) -> Self {
        self.raw_query = raw.to_owned();
        self
    }

    /// A header; a second one of the same name is joined to the first with a comma, as API Gateway does.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let joined = match self.headers.remove(&name.to_lowercase()) {
            Some(first) => format!("{first},{value}"),
            None => value.to_owned(),
        };
        self.headers.insert(name.to_lowercase(), joined);
        self
    }

    /// Leaves a header out.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.remove(&name.to_lowercase());
        self
    }

    /// `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A JSON body with its content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.without_header("content-type").header("content-type", "application/json").body(body.to_string())
    }

    /// Any body; what is not UTF-8 goes base64-encoded.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// `requestContext.requestId`.
    #[must_use]
    pub fn request_id(mut self, id: &str) -> Self {
        self.request_id = id.to_owned();
        self
    }

    /// `requestContext.http.sourceIp` and `.userAgent`.
    #[must_use]
    pub fn client(mut self, source_ip: &str, user_agent: &str) -> Self {
        self.source_ip = source_ip.to_owned();
        self.user_agent = user_agent.to_owned();
        self
    }

    /// Method and route, which decide on the function.
    pub fn endpoint(&self) -> (&str, &str) {
        (&self.method, &self.route)
    }

    fn path_of_the_route(&self) -> String {
        self.path_parameters.iter().fold(self.route.clone(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), &utf8_percent_encode(value, RESERVED).to_string())
        })
    }

    /// The event, to be changed or sent.
    pub fn event(&self) -> Value {
        let now = clock::now();
        let path = self.path.clone().unwrap_or_else(|| self.path_of_the_route());
        let mut headers = self.headers.clone();
        headers.entry("user-agent".to_owned()).or_insert_with(|| self.user_agent.clone());
        let text = self.body.as_ref().map(|body| std::str::from_utf8(body));
        let mut event = json!({
            "version": "2.0",
            "routeKey": format!("{} {}", self.method, self.route),
            "rawPath": path,
            "rawQueryString": self.raw_query,
            "headers": headers,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": "api.example.test",
                "domainPrefix": "api",
                "http": {
                    "method": self.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": self.source_ip,
                    "userAgent": self.user_agent,
                },
                "requestId": self.request_id,
                "routeKey": format!("{} {}", self.method, self.route),
                "stage": "$default",
                "time": now.format("%d/%b/%Y:%H:%M:%S %z").to_string(),
                "timeEpoch": now.timestamp_millis(),
            },
            "isBase64Encoded": matches!(text, Some(Err(_))),
        });
        // Absent, not null, where there is nothing: as API Gateway does.
        if !self.path_parameters.is_empty() {
            event["pathParameters"] = json!(self.path_parameters);
        }
        if !self.raw_query.is_empty() {
            event["queryStringParameters"] = json!(query_parameters(&self.raw_query));
        }
        match (text, &self.body) {
            (Some(Ok(text)), _) => event["body"] = json!(text),
            (Some(Err(_)), Some(body)) => event["body"] = json!(STANDARD.encode(body)),
            _ => {}
        }
        event
    }
}

/// Decoded; values of a repeated name are joined with commas.
fn query_parameters(raw: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let joined = match parameters.get(&decode(name)) {
            Some(first) => format!("{first},{}", decode(value)),
            None => decode(value),
        };
        parameters.insert(decode(name), joined);
    }
    parameters
}

/// A function's answer as the client gets it.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
    /// The body as JSON; null when it is not.
    pub json: Value,
    pub after: Duration,
}

impl Response {
    /// Reads the outcome of an invocation.
    pub fn of(invocation: Invocation) -> Self {
        let after = invocation.response_after;
        Self::read(invocation.value(), after).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads what a function has returned.
    pub fn read(mut value: Value, after: Duration) -> Result<Self> {
        let status = value["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.ok_or_else(|| Error::new(format!("not an answer for API Gateway: {value}")))?;
        let mut headers = BTreeMap::new();
        for (name, header) in value["headers"].as_object().into_iter().flatten() {
            headers.insert(name.to_lowercase(), header.as_str().unwrap_or_default().to_owned());
        }
        let body = match value["body"].take() {
            Value::Null => String::new(),
            Value::String(body) => body,
            other => return Err(Error::new(format!("the body is not a string: {other}"))),
        };
        let text = match value["isBase64Encoded"].as_bool() {
            Some(true) => {
                let bytes = STANDARD.decode(&body).doing(|| "the body is not base64".to_owned())?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => body,
        };
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { status, headers, text, json, after })
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}
