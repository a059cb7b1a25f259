//! Query parameters. API Gateway sends them twice, raw and as a map, and both must agree: a tool that builds events
//! and leaves one of them stale must not read one environment and change another.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(super) struct Query {
    raw: String,
    parameters: Option<Map<String, Value>>,
}

type Decoding = fn(&str) -> Cow<'_, str>;

/// How the map may be decoded: gateways differ in whether `+` is a space, and in whether they decode at all.
const DECODINGS: [Decoding; 3] = [
    |text| Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()),
    |text| percent_decode_str(text).decode_utf8_lossy(),
    |text| Cow::Borrowed(text),
];

impl Query {
    pub fn new(raw: String, parameters: Option<Map<String, Value>>) -> Self {
        Self { raw, parameters }
    }

    /// Names and values, not decoded.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.raw.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Parameters on which the two forms differ, and how. Repeated parameters are not compared, as they are rejected
    /// anyway.
    pub fn differences(&self) -> Vec<(String, String)> {
        let Some(parameters) = &self.parameters else { return Vec::new() };
        let given: BTreeMap<&str, &Value> = parameters
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        let named = DECODINGS.map(|decode| self.raw_by_name(decode));
        // Choose the decoding that leaves the fewest names unmatched; on a tie, the first.
        let unmatched = |raw: &BTreeMap<String, Vec<&str>>| {
            let (raw, given): (BTreeSet<&str>, BTreeSet<&str>) =
                (raw.keys().map(String::as_str).collect(), given.keys().copied().collect());
            raw.symmetric_difference(&given).count()
        };
        let Some(raw) = named.iter().min_by_key(|raw| unmatched(raw)) else { return Vec::new() };
        let missing = raw.keys().filter(|name| !given.contains_key(name.as_str())).map(|name| {
            (name.clone(), "is in `rawQueryString`, but not in `queryStringParameters`".to_owned())
        });
        let others = given.iter().filter_map(|(name, value)| {
            let detail = match (raw.get(*name), value) {
                (_, value) if !value.is_string() => {
                    format!("`queryStringParameters.{name}` must be a string")
                }
                (None, _) => "is in `queryStringParameters`, but not in `rawQueryString`".to_owned(),
                (Some(values), Value::String(value)) if !is_one_of(values, value) => {
                    "differs between `rawQueryString` and `queryStringParameters`".to_owned()
                }
                _ => return None,
            };
            Some(((*name).to_owned(), detail))
        });
        missing.chain(others).collect()
    }

    fn raw_by_name(&self, decode: Decoding) -> BTreeMap<String, Vec<&str>> {
        let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, value) in self.pairs() {
            named.entry(decode(name).into_owned()).or_default().push(value);
        }
        named
    }
}

/// Whether the map's value matches the raw value in any decoding; always true for repeated parameters.
fn is_one_of(values: &[&str], given: &str) -> bool {
    match values {
        [value] => DECODINGS.iter().any(|decode| decode(value) == given),
        _ => true,
    }
}

/// Decodes percent escapes and `+`; `None` if the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differing(raw: &str, parameters: Value) -> Vec<String> {
        let parameters = match parameters {
            Value::Object(parameters) => Some(parameters),
            _ => None,
        };
        let differences = Query::new(raw.to_owned(), parameters).differences();
        differences.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_map_may_be_decoded_in_any_way() {
        for (raw, parameters) in [
            ("", json!({})),
            ("", json!(null)),
            ("environment=staging", json!(null)),
            ("environment=staging", json!({"environment": "staging"})),
            ("&&environment=staging&", json!({"environment": "staging"})),
            ("reason=a+b%2Bc%20d", json!({"reason": "a b+c d"})),
            ("reason=a+b%2Bc%20d", json!({"reason": "a+b+c d"})),
            ("reason=a+b%2Bc%20d", json!({"reason": "a+b%2Bc%20d"})),
            ("%65nvironment=st%C3%BC", json!({"environment": "stü"})),
            ("%65nvironment=st%C3%BC", json!({"%65nvironment": "st%C3%BC"})),
            ("reason", json!({"reason": ""})),
            ("reason=a=b", json!({"reason": "a=b"})),
            ("reason=a,b", json!({"reason": "a,b"})),
            ("%ff=1", json!({"\u{fffd}": "1"})),
            ("limit=1&limit=2", json!({"limit": "1,2"})),
            ("limit=1&limit=2", json!({"limit": "2"})),
            ("", json!({"environment": null})),
        ] {
            assert!(differing(raw, parameters.clone()).is_empty(), "{raw}: {parameters}");
        }
    }

    #[test]
    fn what_only_one_of_them_says_is_named() {
        for (raw, parameters, expected) in [
            ("", json!({"environment": "staging"}), &["environment"][..]),
            ("", json!({"environment": ""}), &["environment"]),
            ("environment=staging", json!({}), &["environment"]),
            ("environment=staging", json!({"environment": null}), &["environment"]),
            ("environment=staging", json!({"environment": "production"}), &["environment"]),
            ("environment=staging", json!({"environment": "staging,production"}), &["environment"]),
            ("environment=staging", json!({"Environment": "staging"}), &["environment", "Environment"]),
            ("environment=staging&limit=1", json!({"environment": "staging"}), &["limit"]),
            ("environment=staging", json!({"environment": "staging", "limit": "1"}), &["limit"]),
            ("environment=staging", json!({"environment": ["staging"]}), &["environment"]),
            ("limit=1", json!({"limit": 1}), &["limit"]),
        ] {
            assert_eq!(differing(raw, parameters.clone()), expected, "{raw}: {parameters}");
        }
    }
}
