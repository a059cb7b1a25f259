//! CORS as API Gateway's HTTP API answers it with the template's `CorsConfiguration`.

use common::http::server::{Reply, reply};
use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;

pub const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
pub const HEADERS: [&str; 3] = ["authorization", "content-type", "idempotency-key"];
pub const EXPOSED: [&str; 3] = ["location", "retry-after", "www-authenticate"];
/// In seconds.
pub const MAX_AGE: u32 = 600;

/// The origins whose pages may call the API; without any, CORS is off.
#[derive(Clone, Debug, Default)]
pub struct Cors(Vec<String>);

impl Cors {
    pub fn allowing(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// The response to a preflight, before any route and authorizer; `None` for other requests, and when CORS is off.
    pub fn preflight(&self, asked: &Parts) -> Option<Reply> {
        let is_preflight = asked.method == Method::OPTIONS
            && asked.headers.contains_key(ORIGIN)
            && asked.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || self.0.is_empty() {
            return None;
        }
        let mut preflight = reply(204, "", "");
        if self.allow(&asked.headers, preflight.headers_mut()) {
            set(preflight.headers_mut(), ACCESS_CONTROL_ALLOW_METHODS, &METHODS.join(","));
            set(preflight.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, &HEADERS.join(","));
            set(preflight.headers_mut(), ACCESS_CONTROL_MAX_AGE, &MAX_AGE.to_string());
        }
        Some(preflight)
    }

    /// Lets pages of an allowed origin read a response; false when the origin is not allowed.
    pub fn allow(&self, asked: &HeaderMap, answer: &mut HeaderMap) -> bool {
        let origin = asked.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let Some(origin) = origin.filter(|origin| self.0.iter().any(|allowed| allowed == origin)) else {
            return false;
        };
        set(answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &EXPOSED.join(","));
        set(answer, VARY, "origin");
        true
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).expect("the value comes from a header or is ASCII"));
}
