//! Which part of the trail to verify.

use serde_json::Value;
use thiserror::Error;

use crate::domain::time::Timestamp;
use crate::domain::time_range::TimeRange;

const MINUTE_MS: i64 = 60_000;
/// From the default start to the end: a day, and an hour that two daily runs have in common.
const DEFAULT_MS: i64 = 25 * 60 * MINUTE_MS;
/// From the default end to now: events that are still being delivered are not verified yet.
const DEFAULT_AGE_MS: i64 = 5 * MINUTE_MS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub range: TimeRange,
    /// Where to begin: the start, or where an earlier run ended.
    pub resume: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}; the input is {{\"from\", \"to\", \"resume\"}}, all optional RFC 3339 times")]
pub struct WindowError(String);

impl Window {
    /// Reads `{"from", "to", "resume"}`. Without `to` it ends five minutes ago, without `from` it begins 25 hours before.
    pub fn parse(input: &Value, now: Timestamp) -> Result<Self, WindowError> {
        let (mut from, mut to, mut resume) = (None, None, None);
        let none = serde_json::Map::new();
        let fields = match input {
            Value::Null => &none,
            Value::Object(fields) => fields,
            _ => return Err(WindowError("the input is not an object".to_owned())),
        };
        for (name, value) in fields {
            let time = match name.as_str() {
                "from" => &mut from,
                "to" => &mut to,
                "resume" => &mut resume,
                _ => return Err(WindowError(format!("`{name}` is not a known field"))),
            };
            if !value.is_null() {
                let parsed = value.as_str().and_then(Timestamp::parse);
                *time = Some(parsed.ok_or_else(|| WindowError(format!("`{name}` is not a time")))?);
            }
        }
        let to = to.unwrap_or_else(|| now.plus_millis(-DEFAULT_AGE_MS));
        let from = from.unwrap_or_else(|| to.plus_millis(-DEFAULT_MS));
        let resume = resume.unwrap_or(from);
        if to > now {
            return Err(WindowError(format!("`to` ({to}) is later than now ({now})")));
        }
        if from >= to {
            return Err(WindowError(format!("`from` ({from}) is not before `to` ({to})")));
        }
        if resume < from || resume >= to {
            return Err(WindowError(format!(
                "`resume` ({resume}) is not between `from` ({from}) and `to` ({to})"
            )));
        }
        Ok(Self { range: TimeRange { from, to }, resume })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_default_is_the_last_25_hours_up_to_five_minutes_ago() {
        let now = time("2026-03-02T12:00:00Z");

        for input in [Value::Null, json!({}), json!({"from": null, "to": null, "resume": null})] {
            let window = Window::parse(&input, now).unwrap();

            assert_eq!(window.range.from, time("2026-03-01T10:55:00Z"));
            assert_eq!(window.range.to, time("2026-03-02T11:55:00Z"));
            assert_eq!(window.resume, window.range.from);
        }
    }

    #[test]
    fn what_an_earlier_run_returned_is_a_window() {
        let input = json!({
            "from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00+01:00", "resume": "2026-03-01T08:00:00.001Z"
        });

        let window = Window::parse(&input, time("2026-03-02T12:00:00Z")).unwrap();

        assert_eq!(window.range.to, time("2026-03-01T23:00:00Z"));
        assert_eq!(window.resume, time("2026-03-01T08:00:00.001Z"));
    }

    #[test]
    fn bad_input_is_refused_with_its_reason() {
        for (input, reason) in [
            (json!([]), "not an object"),
            (json!({"since": "2026-03-01T00:00:00Z"}), "`since` is not a known field"),
            (json!({"from": "yesterday"}), "`from` is not a time"),
            (json!({"to": 5}), "`to` is not a time"),
            (json!({"to": "2026-03-02T12:00:00.001Z"}), "later than now"),
            (json!({"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}), "not before"),
            (json!({"resume": "2026-02-01T00:00:00Z"}), "not between"),
        ] {
            let error = Window::parse(&input, time("2026-03-02T12:00:00Z")).unwrap_err();

            assert!(error.to_string().contains(reason), "{input}: {error}");
        }
    }
}
