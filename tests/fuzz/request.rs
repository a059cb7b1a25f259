//! Requests, made by strategies so that a failing one shrinks, and the events that API Gateway would make of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::api::{cancel_request, create_request, list_request};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::parts::{self, FLAG, ID, OTHER_FLAG, SCHEDULES, any_json, any_text, mostly};
use super::service::Endpoint;

/// A request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// Who asks.
    pub who: Who,
    flag: String,
    schedule: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    /// Base64 said or done where the other is not.
    contradiction: Option<Contradiction>,
    /// Members of the event that are another value; without one, they are missing.
    damage: Vec<(&'static str, Option<Value>)>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Who {
    /// An admin.
    Admin,
    /// Somebody with a valid token.
    User,
    /// Nobody.
    Nobody,
    /// Whoever this header means.
    Header(String),
}

/// Between the body and what is said of it.
#[derive(Clone, Copy, Debug)]
enum Contradiction {
    /// The body is text, and said to be base64.
    Said,
    /// The body is base64, and not said to be.
    Done,
}

/// The members of an event that may be damaged.
const MEMBERS: [&str; 20] = [
    "/version",
    "/routeKey",
    "/rawPath",
    "/rawQueryString",
    "/headers",
    "/headers/authorization",
    "/headers/host",
    "/pathParameters",
    "/pathParameters/flagKey",
    "/pathParameters/scheduleId",
    "/body",
    "/isBase64Encoded",
    "/cookies",
    "/stageVariables",
    "/requestContext",
    "/requestContext/http",
    "/requestContext/http/sourceIp",
    "/requestContext/http/userAgent",
    "/requestContext/requestId",
    "/requestContext/timeEpoch",
];

/// Any request; most are nearly valid.
pub fn requests() -> BoxedStrategy<Sent> {
    let endpoint = prop_oneof![
        5 => Just(Endpoint::Create),
        3 => Just(Endpoint::List),
        3 => Just(Endpoint::Cancel),
    ];
    let who = prop_oneof![
        20 => Just(Who::Admin),
        1 => Just(Who::User),
        1 => Just(Who::Nobody),
        1 => any_text().prop_map(Who::Header),
        1 => any_text().prop_map(|text| Who::Header(format!("Bearer {text}"))),
    ];
    let flag = mostly(
        &[FLAG, FLAG, FLAG, "new%2Dcheckout"],
        &[OTHER_FLAG, "nowhere", "a%2Fb%20c%25%C3%BC%F0%9F%8E%89"],
    );
    let known: Vec<String> = (0..SCHEDULES).map(|number| format!("{ID}{number:02}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let no_uuid = "{00000000-0000-0000-0000-000000000000}";
    let schedule = mostly(&known, &["00000000-0000-0000-0000-000000000000", "no-uuid", no_uuid]);
    (
        endpoint,
        who,
        flag,
        schedule,
        parts::query(),
        headers(),
        option::weighted(0.95, parts::body()),
        option::weighted(0.3, parts::cancel_body()),
        contradiction(),
        damage(),
    )
        .prop_map(
            |(endpoint, who, flag, schedule, query, headers, body, cancel_body, contradiction, damage)| {
                let body = if endpoint == Endpoint::Cancel { cancel_body } else { body };
                Sent { endpoint, who, flag, schedule, query, headers, body, contradiction, damage }
            },
        )
        .boxed()
}

fn headers() -> BoxedStrategy<Vec<(String, String)>> {
    let content_type = mostly(
        &["application/json", "Application/JSON ; charset=utf-8"],
        &["text/plain", "application/json,application/json", "application/problem+json", ""],
    );
    let key = mostly(&["key-1", "key-2", "key-3"], &["", "x y", "ü"]);
    let name = mostly(
        &["cookie", "host", "x-forwarded-for", "content-length"],
        &["Authorization", "AUTHORIZATION", "Content-Type"],
    );
    let content_type = content_type.prop_map(|value| ("content-type".to_owned(), value));
    let key = key.prop_map(|value| ("idempotency-key".to_owned(), value));
    let any = (name, any_text());
    (option::weighted(0.97, content_type), option::weighted(0.2, key), option::weighted(0.1, any))
        .prop_map(|(content_type, key, any)| content_type.into_iter().chain(key).chain(any).collect())
        .boxed()
}

fn contradiction() -> BoxedStrategy<Option<Contradiction>> {
    option::weighted(0.04, select(&[Contradiction::Said, Contradiction::Done][..])).boxed()
}

fn damage() -> BoxedStrategy<Vec<(&'static str, Option<Value>)>> {
    let value = prop_oneof![any_json(), any_text().prop_map(Value::from)];
    let one = (select(&MEMBERS[..]), option::weighted(0.8, value));
    prop_oneof![5 => Just(Vec::new()), 1 => vec(one, 1..3)].boxed()
}

/// What stands for something that the database knows, and what it stands for.
pub type Known = Vec<(String, String)>;

impl Sent {
    /// The event, with what is known filled in.
    pub fn event(&self, token: &str, known: &Known) -> Value {
        let fill = |text: &str| known.iter().fold(text.to_owned(), |text, (name, is)| text.replace(name, is));
        let (flag, schedule, query) = (fill(&self.flag), fill(&self.schedule), fill(&self.query));
        let request = match self.endpoint {
            Endpoint::Create => create_request(&flag, &query, &Value::Null).without_header("content-type"),
            Endpoint::List => list_request(&flag, &query),
            Endpoint::Cancel => cancel_request(&flag, &schedule, &query),
        };
        let mut event = request.event();
        for (name, value) in &self.headers {
            event["headers"][name] = json!(value);
        }
        match &self.who {
            Who::Nobody => {}
            Who::Header(header) => event["headers"]["authorization"] = json!(header),
            Who::Admin | Who::User => event["headers"]["authorization"] = json!(format!("Bearer {token}")),
        }
        self.put_body(&mut event, &fill);
        for (member, value) in &self.damage {
            let (parent, name) = member.rsplit_once('/').unwrap_or_default();
            let Some(Value::Object(parent)) = event.pointer_mut(parent) else { continue };
            match value {
                Some(value) => parent.insert(name.to_owned(), value.clone()),
                None => parent.remove(name),
            };
        }
        event
    }

    fn put_body(&self, event: &mut Value, fill: &dyn Fn(&str) -> String) {
        let Some(bytes) = &self.body else {
            event.as_object_mut().unwrap().remove("body");
            return;
        };
        let filled = std::str::from_utf8(bytes).map(fill);
        let bytes = filled.as_ref().map_or(&bytes[..], |text| text.as_bytes());
        let text = match (&filled, self.contradiction) {
            (Ok(text), None | Some(Contradiction::Said)) => text.clone(),
            _ => STANDARD.encode(bytes),
        };
        event["body"] = json!(text);
        event["isBase64Encoded"] = match self.contradiction {
            None => json!(filled.is_err()),
            Some(Contradiction::Said) => json!(true),
            Some(Contradiction::Done) => json!(false),
        };
    }
}
