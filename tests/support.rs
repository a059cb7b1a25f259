//! What most tests here say: bodies, and looking things up in answers and events.

use std::time::Duration;

use serde_json::{Value, json};

/// A time `seconds` from now, as a caller would write it.
pub fn in_seconds(seconds: i64) -> String {
    (harness::clock::now() + chrono::TimeDelta::seconds(seconds))
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// A body that turns a flag on in an hour.
pub fn turn_on() -> Value {
    json!({"scheduled_at": in_seconds(3600), "updates": {"enabled": true}})
}

/// A body with these updates, in an hour.
pub fn with_updates(updates: &Value) -> Value {
    json!({"scheduled_at": in_seconds(3600), "updates": updates})
}

/// The events of a type.
pub fn of_type<'a>(events: &'a [Value], event_type: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event_type"] == event_type).collect()
}

/// The only event of a type.
#[track_caller]
pub fn only<'a>(events: &'a [Value], event_type: &str) -> &'a Value {
    match of_type(events, event_type)[..] {
        [event] => event,
        _ => panic!("expected one {event_type}, got {events:#?}"),
    }
}

/// A text in an answer.
#[track_caller]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("expected a text in {key}, got {value:#}"))
}

/// A moment ago, for what must be due.
pub const A_MOMENT: Duration = Duration::from_secs(1);

/// How long anything may take that must happen.
pub const LIMIT: Duration = Duration::from_secs(30);
