//! Points in time as the service shows them: UTC, cut (not rounded) to milliseconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A point in time, in whole milliseconds. Shown as RFC 3339 in UTC with `Z` and three fractional digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Cuts a point in time to the millisecond it lies in. A leap second becomes the second after it.
    #[must_use]
    pub fn cut(time: DateTime<Utc>) -> Self {
        Self(DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time))
    }

    /// Reads an RFC 3339 time of any offset and cuts it to milliseconds; `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // RFC 3339 section 5.6 wants a `T` (or `t`) here; chrono would take a space as well.
        if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
            return None;
        }
        DateTime::parse_from_rfc3339(text).ok().map(|time| Self::cut(time.to_utc()))
    }

    /// The same point in time for the database driver and for arithmetic.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }

    fn to_rfc3339(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// How long after `earlier` this is; negative when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> TimeDelta {
        self.0 - earlier.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_is_read_and_shown_in_utc_cut_to_milliseconds() {
        let time = Timestamp::parse("2026-02-09T10:30:00.123999+01:30").unwrap();

        assert_eq!(time.to_string(), "2026-02-09T09:00:00.123Z");
        assert_eq!(serde_json::to_value(time).unwrap(), "2026-02-09T09:00:00.123Z");
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        let time = Timestamp::parse("2016-12-31T23:59:60.5Z").unwrap();

        assert_eq!(time.to_string(), "2017-01-01T00:00:00.500Z");
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in
            ["", "now", "2026-02-09", "2026-02-09 10:00:00Z", "2026-02-09T10:00:00", "2026-02-30T10:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text:?} was read as a time");
        }
    }
}
