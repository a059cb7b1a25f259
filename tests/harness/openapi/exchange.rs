//! One request and its answer against the operation that describes them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonschema::Validator;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::document::{Document, Operation, entries, faults};
use common::error::{Error, Result};

/// The media type of the gateway's own errors; a function's are problem documents.
const GATEWAY_ANSWERS: &str = "application/json";

/// An operation, compiled: what its function may answer.
pub(super) struct Contract {
    parameters: BTreeMap<(String, String), Slot>,
    request_body: Option<Body>,
    responses: BTreeMap<u16, Answer>,
}

/// A parameter or a header: text on the wire, a value in the schema.
struct Slot {
    required: bool,
    is_integer: bool,
    validator: Validator,
}

struct Body {
    required: bool,
    content: BTreeMap<String, Validator>,
}

struct Answer {
    headers: BTreeMap<String, Slot>,
    body: Body,
}

impl Contract {
    pub fn new(document: &Document, operation: Operation) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for parameter in &operation.parameters {
            let text = |key: &str| parameter[key].as_str().unwrap_or_default().to_owned();
            // The names of headers are the same in any case.
            let name = if text("in") == "header" { text("name").to_lowercase() } else { text("name") };
            parameters.insert((text("in"), name), Slot::new(document, parameter)?);
        }
        let mut responses = BTreeMap::new();
        for (status, response) in &operation.responses {
            let mut headers = BTreeMap::new();
            for (name, header) in entries(&response["headers"]) {
                headers.insert(name.to_lowercase(), Slot::new(document, document.resolved(header)?)?);
            }
            let mut body = Body::new(document, response)?;
            if *status >= 400 {
                // The gateway's own answers are described as well, and have none of these headers; a function has no
                // part in them.
                body.content.remove(GATEWAY_ANSWERS);
                headers.values_mut().for_each(|header: &mut Slot| header.required = true);
                if body.content.is_empty() {
                    continue;
                }
            }
            body.required = !body.content.is_empty();
            responses.insert(*status, Answer { headers, body });
        }
        let request_body = match &operation.request_body {
            Value::Null => None,
            body => Some(Body::new(document, body)?),
        };
        Ok(Self { parameters, request_body, responses })
    }

    /// All that is not as described.
    pub fn faults(&self, event: &Value, answer: &Value) -> Vec<String> {
        let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
        let Some((status, described)) =
            status.and_then(|status| Some((status, self.responses.get(&status)?)))
        else {
            let known = self.responses.keys().map(u16::to_string).collect::<Vec<_>>().join(", ");
            return vec![format!("the status is {}; described are {known}", answer["statusCode"])];
        };
        let mut faults = described.faults(answer);
        if status < 300 {
            faults.extend(self.request_faults(event).into_iter().map(|fault| {
                format!("it was answered {status}, so it must be described, but in the request {fault}")
            }));
        }
        faults
    }

    fn request_faults(&self, event: &Value) -> Vec<String> {
        let mut given: Vec<(&str, String, String)> = Vec::new();
        for (name, value) in entries(&event["pathParameters"]) {
            given.push(("path", name.clone(), decoded(value.as_str().unwrap_or_default())));
        }
        let query = event["rawQueryString"].as_str().unwrap_or_default().replace('+', " ");
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            given.push(("query", decoded(name), decoded(value)));
        }
        let is_described = |name: &str| self.parameters.contains_key(&("header".to_owned(), name.to_owned()));
        for (name, value) in entries(&event["headers"]) {
            // Headers that are not described, such as those of proxies, mean nothing here.
            if is_described(&name.to_lowercase()) {
                given.push(("header", name.to_lowercase(), value.as_str().unwrap_or_default().to_owned()));
            }
        }

        let mut faults = Vec::new();
        for (place, name, value) in &given {
            match self.parameters.get(&((*place).to_owned(), name.clone())) {
                None => faults.push(format!("the {place} parameter {name} is not described")),
                Some(slot) => faults.extend(slot.faults(&format!("the {place} parameter {name}"), value)),
            }
        }
        for ((place, name), slot) in &self.parameters {
            if slot.required && !given.iter().any(|(other, given, _)| other == place && given == name) {
                faults.push(format!("the {place} parameter {name} is missing"));
            }
        }
        if let Some(body) = &self.request_body {
            let content_type =
                entries(&event["headers"]).find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            let content_type = content_type.and_then(|(_, value)| value.as_str());
            faults.extend(body.faults(content_type, &body_of(event)));
        }
        faults
    }
}

impl Slot {
    fn new(document: &Document, described: &Value) -> Result<Self> {
        let schema = described.get("schema").ok_or_else(|| Error::new(format!("no schema: {described}")))?;
        Ok(Self {
            required: described["required"] == true,
            is_integer: document.type_of(schema) == Some("integer"),
            validator: document.validator(schema)?,
        })
    }

    fn faults(&self, what: &str, text: &str) -> Vec<String> {
        let number = if self.is_integer { text.parse::<i64>().ok() } else { None };
        let value = number.map_or_else(|| Value::from(text), Value::from);
        faults(&self.validator, &value).into_iter().map(|fault| format!("{what}: {fault}")).collect()
    }
}

impl Body {
    fn new(document: &Document, described: &Value) -> Result<Self> {
        let mut content = BTreeMap::new();
        for (media_type, described) in entries(&described["content"]) {
            content.insert(media_type.clone(), document.validator(&described["schema"])?);
        }
        Ok(Self { required: described["required"] == true, content })
    }

    fn faults(&self, content_type: Option<&str>, text: &[u8]) -> Vec<String> {
        if text.is_empty() && !self.required {
            return Vec::new();
        }
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        let media_type = media_type.trim().to_lowercase();
        let Some(validator) = self.content.get(&media_type) else {
            let known = self.content.keys().cloned().collect::<Vec<_>>().join(", ");
            return vec![format!("the content type is {content_type:?}; described are {known}")];
        };
        match serde_json::from_slice(text) {
            Ok(value) => {
                faults(validator, &value).into_iter().map(|fault| format!("the body: {fault}")).collect()
            }
            Err(error) => vec![format!("the body is not JSON: {error}")],
        }
    }
}

impl Answer {
    fn faults(&self, answer: &Value) -> Vec<String> {
        let headers: BTreeMap<String, &str> = entries(&answer["headers"])
            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap_or_default()))
            .collect();
        let mut faults = self.body.faults(headers.get("content-type").copied(), &body_of(answer));
        for (name, value) in headers.iter().filter(|(name, _)| *name != "content-type") {
            match self.headers.get(name) {
                None => faults.push(format!("the header {name} is not described")),
                Some(slot) => faults.extend(slot.faults(&format!("the header {name}"), value)),
            }
        }
        let missing =
            self.headers.iter().filter(|(name, slot)| slot.required && !headers.contains_key(*name));
        faults.extend(missing.map(|(name, _)| format!("the header {name} is missing")));
        faults
    }
}

/// The body of an event or an answer in API Gateway's form.
fn body_of(message: &Value) -> Vec<u8> {
    let body = message["body"].as_str().unwrap_or_default();
    match message["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(body).unwrap_or_default(),
        _ => body.as_bytes().to_vec(),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
