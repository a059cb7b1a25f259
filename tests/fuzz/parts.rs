//! What requests consist of: texts that have broken others before, JSON near a valid body and far from it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

/// Stands for a time in an hour.
pub const SOON: &str = "{soon}";
/// Stands for the `next_cursor` of a page.
pub const CURSOR: &str = "{cursor}";
/// Stands, with two digits behind it, for the id of a schedule.
pub const ID: &str = "{id}";
/// How many schedules there are at first.
pub const SCHEDULES: usize = 60;
/// The flag that there is.
pub const FLAG: &str = "new-checkout";
/// Another one, in [`OTHER_ENVIRONMENT`].
pub const OTHER_FLAG: &str = "a/b c%ü🎉";
/// Its environment.
pub const OTHER_ENVIRONMENT: &str = "st&ging";

/// Texts that have broken others before.
const NASTY: [&str; 38] = [
    "",
    " ",
    "\0",
    "%00",
    "%",
    "%f",
    "%ff",
    "%C0%AF",
    "%E0%80%80",
    "%ed%a0%80",
    "..",
    "../..",
    "%2e%2e%2f",
    "%252e",
    "+",
    "&",
    "=",
    "#",
    "?",
    ";",
    "'",
    "\"",
    "\\",
    "' or 1=1 --",
    "$1",
    "{}",
    "null",
    "NaN",
    "-0",
    "1e999",
    "\u{feff}",
    "\u{202e}abc",
    "\u{1b}[31m",
    "\r\nx: y",
    "e\u{301}",
    "\u{10ffff}",
    "\u{d7ff}\u{e000}",
    "İ",
];

/// Any text at all, of any characters.
pub fn any_text() -> BoxedStrategy<String> {
    prop_oneof![
        4 => select(&NASTY[..]).prop_map(str::to_owned),
        2 => "[a-zA-Z0-9%./_~-]{0,12}",
        2 => vec(any::<char>(), 0..20).prop_map(String::from_iter),
        1 => vec(select(&NASTY[..]), 1..4).prop_map(|texts| texts.concat()),
        1 => (any::<char>(), 90..600usize).prop_map(|(char, times)| char.to_string().repeat(times)),
    ]
    .boxed()
}

/// Nearly always one of the good ones, now and then an odd one, sometimes anything.
pub fn mostly(good: &[&str], odd: &[&str]) -> BoxedStrategy<String> {
    let [good, odd] =
        [good, odd].map(|texts| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    prop_oneof![30 => select(good), 2 => select(odd), 1 => any_text()].boxed()
}

/// A query string: parameters that there are and are not, well formed and not.
pub fn query() -> BoxedStrategy<String> {
    let environment = || mostly(&["environment=production"], &["environment=st%26ging", "environment"]);
    let status = mostly(&["status=pending", "status=cancelled", "st%61tus=applied"], &["status=PENDING"]);
    let limit = mostly(&["limit=1", "limit=200"], &["limit=0", "limit=-1", "limit=201", "limit=1e2"]);
    let cursor = mostly(&["cursor={cursor}"], &["cursor=", "cursor=AAAA", "cursor={cursor}A"]);
    let reason = mostly(&["reason=late", "reason=a+b%20c", "reason="], &["reason=%00", "reason=%ff"]);
    let parameter = prop_oneof![
        4 => environment(),
        2 => status,
        2 => limit,
        2 => cursor,
        2 => reason,
        1 => (any_text(), any_text()).prop_map(|(name, value)| format!("{name}={value}")),
        1 => Just("access_token=x".to_owned()),
    ];
    prop_oneof![
        24 => Just(String::new()),
        6 => environment(),
        2 => mostly(&["status=pending&limit=3", "limit=1&cursor={cursor}"], &["limit=1&limit=2"]),
        4 => vec(parameter, 1..4).prop_map(|parameters| parameters.join("&")),
        1 => any_text(),
    ]
    .boxed()
}

/// Any small JSON value.
pub fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any_text(), inner), 0..4).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
    .boxed()
}

/// As [`mostly`].
fn mostly_json(good: Vec<Value>, odd: Vec<Value>) -> BoxedStrategy<Value> {
    prop_oneof![30 => select(good), 3 => select(odd), 1 => any_json()].boxed()
}

/// A body that is a valid one but for a few members.
fn near_valid_body() -> BoxedStrategy<Value> {
    let odd_times = [
        "2026-02-09T09:00:00Z",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2027-02-30T00:00:00Z",
        "+262142-12-31T23:59:59Z",
        "2099-01-01T00:00:00.123456789-23:59",
    ];
    let time = || mostly_json(vec![json!(SOON)], odd_times.map(Value::from).into());
    let updates = mostly_json(
        vec![
            json!({"enabled": true}),
            json!({"enabled": false, "rollout_percentage": 25}),
            json!({"rollout_percentage": 100}),
        ],
        vec![
            json!({"rollout_percentage": 101}),
            json!({"rollout_percentage": 1.5}),
            json!({"rolloutPercentage": 5}),
            json!({"rollout_percentage": 5, "rolloutPercentage": 5}),
            json!({"enabled": null}),
            json!({}),
        ],
    );
    let reason = mostly_json(
        vec![json!("launch"), json!(null), json!("\u{1b}[0m\n\u{202e}"), json!("😀".repeat(500))],
        vec![json!("x".repeat(501)), json!("a\0b")],
    );
    let expect = mostly_json(
        vec![json!({"enabled": true}), json!({"rollout_percentage": 0}), json!(null)],
        vec![json!({}), json!({"enabled": 1}), json!({"rolloutPercentage": 5}), json!("on")],
    );
    let further = (mostly(&["apply_by"], &["sheduled_at", "status", "updates "]), time());
    (
        option::weighted(0.97, time()),
        option::weighted(0.97, updates),
        option::weighted(0.2, expect),
        option::weighted(0.3, reason),
        option::weighted(0.1, further),
    )
        .prop_map(|(scheduled_at, updates, expect, reason, further)| {
            let members = [
                ("scheduled_at", scheduled_at),
                ("updates", updates),
                ("expect", expect),
                ("reason", reason),
            ];
            let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(members.chain(further).collect())
        })
        .boxed()
}

/// The body of a cancel, as bytes.
pub fn cancel_body() -> BoxedStrategy<Vec<u8>> {
    let good = vec![json!({}), json!({"reason": null}), json!({"reason": "late"})];
    let odd =
        vec![json!({"reason": 1}), json!({"reason": "x".repeat(501)}), json!({"why": "late"}), json!(null)];
    prop_oneof![
        20 => mostly_json(good, odd).prop_map(|body| body.to_string().into_bytes()),
        1 => Just(br#"{"reason":"a","reason":"b"}"#.to_vec()),
        1 => body(),
    ]
    .boxed()
}

/// A body, as bytes.
pub fn body() -> BoxedStrategy<Vec<u8>> {
    let text = || near_valid_body().prop_map(|body| body.to_string().into_bytes());
    prop_oneof![
        30 => text(),
        4 => any_json().prop_map(|value| value.to_string().into_bytes()),
        // Bytes of a good body changed, taken out, put in.
        6 => (text(), vec((any::<Index>(), any::<u8>(), 0..3u8), 1..4)).prop_map(|(mut text, changes)| {
            for (at, byte, kind) in changes {
                let at = at.index(text.len().max(1));
                match kind {
                    0 if at < text.len() => text[at] = byte,
                    1 if at < text.len() => drop(text.remove(at)),
                    _ => text.insert(at.min(text.len()), byte),
                }
            }
            text
        }),
        // A member twice.
        2 => text().prop_map(|text| [&text[..text.len() - 1], br#","updates":{},"updates":{}}"#].concat()),
        2 => vec(any::<u8>(), 0..64),
        1 => Just(Vec::new()),
        1 => select(&["[", "{\"a\":", "[{\"a\":"][..]).prop_map(|open| open.bytes().cycle().take(10_000).collect()),
        1 => (16_300..17_000usize).prop_map(|size| vec![b' '; size]),
        1 => Just(vec![b'x'; 1024 * 1024]),
    ]
    .boxed()
}
