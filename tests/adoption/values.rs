//! Values from the full range of each column type, as SQL expressions, so that a failure can be read and tried in `psql`.

use proptest::prelude::*;
use proptest::sample::select;

const TEXTS: [&str; 15] = [
    "''",
    "'frozen'",
    "' '",
    r#"'O''Brien "x" \ %s $1 {0}'"#,
    r"E'line\nbreak\r\ttab'",
    r"E'\x1b[31mred\x1b[0m'",
    r"U&'right\202Eleft'",
    r"U&'\+01F389 \FEFF \200B'",
    r"E'\x01\x7f'",
    r#"'{"json": [1, 2]}'"#,
    "'null'",
    "repeat('x', 501)",
    "repeat('ü', 3000)",
    r#"repeat('"', 100000)"#,
    "repeat('x', 1000000)",
];

/// Times as literals; the last ones only with a time zone make sense, and are taken without one too.
const TIMES: [&str; 18] = [
    "-infinity",
    "infinity",
    "4713-01-01 00:00:00+00 BC",
    "294276-12-31 23:59:59.999999+00",
    "0001-12-31 23:59:59.999999+00 BC",
    "0001-01-01 00:00:00+00",
    "0001-01-01 00:00:00.000001+00",
    "0009-06-01 00:00:00+00",
    "1883-11-18 12:03:57+00",
    "1900-01-01 00:00:00.1234+00",
    "1969-12-31 23:59:59.999999+00",
    "2016-12-31 23:59:60+00",
    "2025-03-30 01:30:00+00",
    "9999-12-31 23:59:59+00",
    "9999-12-31 23:59:59.999999+00",
    "10000-01-01 00:00:00+00",
    "10000-01-01 00:00:00-15:59",
    "9999-12-31 23:59:59-01",
];

/// Updates that are to be applied.
pub const GOOD_UPDATES: [&str; 5] = [
    r#"'{"enabled": true}'"#,
    r#"'{"rollout_percentage": 0}'"#,
    r#"'{"enabled": false, "rollout_percentage": 100}'"#,
    r#"'{"rolloutPercentage": 7}'"#,
    r#"'{"enabled": true, "rolloutPercentage": 50}'"#,
];

/// Updates that are to fail.
pub const BAD_UPDATES: [&str; 22] = [
    "'null'",
    "'true'",
    "'17'",
    r#"'"text"'"#,
    "'[]'",
    r#"'[{"enabled": true}]'"#,
    "'{}'",
    r#"'{"enabled": "yes"}'"#,
    r#"'{"enabled": 1}'"#,
    r#"'{"rollout_percentage": -1}'"#,
    r#"'{"rollout_percentage": 101}'"#,
    r#"'{"rollout_percentage": 50.5}'"#,
    r#"'{"rollout_percentage": 1e400}'"#,
    r#"'{"rollout_percentage": 123456789012345678901234567890}'"#,
    r#"'{"rollout_percentage": "50"}'"#,
    r#"'{"enabled": true, "colour": "red"}'"#,
    r#"'{"Enabled": true}'"#,
    r#"'{"": true}'"#,
    r#"(repeat('[', 5000) || repeat(']', 5000))"#,
    r#"('{"enabled": ' || repeat('{"a":', 3000) || '1' || repeat('}', 3000) || '}')"#,
    "(select jsonb_object_agg('key' || n, n)::text from generate_series(1, 20000) n)",
    r#"('{"' || repeat('k', 900000) || '": true}')"#,
];

/// Updates of which both are right: the contract leaves it open.
const OPEN_UPDATES: [&str; 3] = [
    r#"'{"rollout_percentage": 1, "rolloutPercentage": 2}'"#,
    r#"'{"enabled": true, "rollout_percentage": null}'"#,
    r#"'{"rollout_percentage": 10.0}'"#,
];

/// Statuses of other tools; the service's own are the four that are not here.
pub const FOREIGN_STATUSES: [&str; 6] =
    ["'processing'", "''", "'PENDING'", r"E'pending\n'", "repeat('s', 1000)", r"U&'\202Eapplied'"];

/// Time zones of the database, most with offsets that have seconds in old years. (PostgreSQL refuses zones whose offset
/// has seconds today.)
pub const TIME_ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "Africa/Monrovia",
    "Asia/Kathmandu",
    "America/Caracas",
    "<-00:44>00:44",
    "<+15:59>-15:59",
];

/// An expression of this type, or NULL.
///
/// # Panics
/// For a type that nobody has thought of: add its values.
pub fn of(kind: &str, column: &str) -> BoxedStrategy<String> {
    let null = || Just("null".to_owned());
    let owned = |values: &'static [&'static str]| select(values).prop_map(str::to_owned);
    let cast = |values: BoxedStrategy<String>, kind: &str| {
        let kind = kind.to_owned();
        values.prop_map(move |value| format!("({value})::{kind}")).boxed()
    };
    if column == "status" {
        let own = select(&["'pending'", "'applied'", "'failed'", "'cancelled'"][..]).prop_map(str::to_owned);
        return prop_oneof![own, owned(&FOREIGN_STATUSES)].boxed();
    }
    match kind {
        "boolean" => prop_oneof![null(), Just("true".to_owned()), Just("false".to_owned())].boxed(),
        "integer" => prop_oneof![
            null(),
            any::<i32>().prop_map(|n| n.to_string()),
            select(vec![0, -1, 1, 100, 101, i32::MAX, i32::MIN]).prop_map(|n| n.to_string())
        ]
        .boxed(),
        "smallint" => prop_oneof![null(), any::<i16>().prop_map(|n| n.to_string())].boxed(),
        "bigint" => prop_oneof![null(), any::<i64>().prop_map(|n| n.to_string())].boxed(),
        "text" | "character varying" => prop_oneof![
            1 => null(),
            4 => owned(&TEXTS),
            2 => "[a-z<>&'\"\\\\ ]{0,40}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        ]
        .boxed(),
        "jsonb" | "json" => {
            let values = prop_oneof![owned(&GOOD_UPDATES), owned(&BAD_UPDATES), owned(&OPEN_UPDATES)];
            let values = prop_oneof![1 => null(), 9 => values];
            cast(values.boxed(), "jsonb")
        }
        "timestamp with time zone" => {
            cast(prop_oneof![null(), times(), owned_times()].boxed(), "timestamptz")
        }
        "timestamp without time zone" => {
            cast(prop_oneof![null(), times(), owned_times()].boxed(), "timestamp")
        }
        "uuid" => prop_oneof![null(), Just("gen_random_uuid()".to_owned())].boxed(),
        other => panic!("{column} has the type {other}, for which there are no values here: add them"),
    }
}

fn owned_times() -> impl Strategy<Value = String> {
    select(&TIMES[..]).prop_map(|time| format!("'{time}'"))
}

/// A second somewhere from the year 1 to 9999.
fn times() -> impl Strategy<Value = String> {
    (1..10_000, 1..13, 1..29, 0..86_400, 0..1_000_000).prop_map(|(year, month, day, second, micro)| {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micro:06}+00'")
    })
}

/// What is to become of updates: applied, failed, or either.
pub fn are_good(updates: &str) -> Option<bool> {
    let is = |values: &[&str]| values.iter().any(|value| updates == format!("({value})::jsonb"));
    if is(&GOOD_UPDATES) {
        Some(true)
    } else if is(&BAD_UPDATES) {
        Some(false)
    } else {
        None
    }
}
