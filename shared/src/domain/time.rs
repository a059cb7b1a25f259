//! Timestamps as the API shows them: UTC, truncated (not rounded) to milliseconds, years 1 to 9999.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// Years 1 to 9999 UTC in epoch milliseconds: all that RFC 3339 can express.
const RANGE_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
/// PostgreSQL's epoch, 2000-01-01, in microseconds since 1970.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

/// Whole milliseconds within years 1 to 9999. Displayed as RFC 3339 in UTC with `Z` and three fractional digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Truncates to milliseconds and clamps to years 1 to 9999.
    #[must_use]
    pub fn truncate(time: DateTime<Utc>) -> Self {
        Self::from_millis(time.timestamp_millis())
    }

    /// Parses a caller's RFC 3339 time, any offset, truncated to milliseconds. `None` if malformed or outside years 1
    /// to 9999 in UTC. A leap second becomes the following second.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // RFC 3339 section 5.6 requires `T` (or `t`) here; chrono also accepts a space, and U+2212 as a minus sign.
        if !text.is_ascii() || !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
            return None;
        }
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        let is_leap_second = text.as_bytes().get(17..19) == Some(b"60");
        if is_leap_second && time.timestamp().rem_euclid(86_400) != 86_399 {
            return None;
        }
        let millis = time.timestamp_millis();
        RANGE_MS.contains(&millis).then(|| Self::from_millis(millis))
    }

    /// Parses PostgreSQL's JSON form of a `timestamptz`, whatever its value and the session's time zone: `infinity`,
    /// years before 1 (`BC`) and after 9999, offsets with seconds. `None` only for other text.
    #[must_use]
    pub fn parse_stored(text: &str) -> Option<Self> {
        match text {
            "infinity" => return Some(Self::from_millis(i64::MAX)),
            "-infinity" => return Some(Self::from_millis(i64::MIN)),
            _ => {}
        }
        let (time, is_bc) = text.strip_suffix(" BC").map_or((text, false), |time| (time, true));
        let (year, rest) = time.split_once('-')?;
        let year: i32 = year.parse().ok()?;
        // Far out of range: chrono's calendar ends before PostgreSQL's.
        match (year, is_bc) {
            (10_001.., false) => return Some(Self::from_millis(i64::MAX)),
            (3.., true) => return Some(Self::from_millis(i64::MIN)),
            _ => {}
        }
        let (day, time) = rest.split_once('T')?;
        // A time has no sign, so the first sign starts the offset.
        let (time, offset) = time.split_at(time.find(['+', '-', 'Z'])?);
        let (month, day) = day.split_once('-')?;
        let date = NaiveDate::from_ymd_opt(
            if is_bc { 1 - year } else { year },
            month.parse().ok()?,
            day.parse().ok()?,
        )?;
        let time = NaiveTime::parse_from_str(time, "%H:%M:%S%.f").ok()?;
        let local = date.and_time(time).and_utc().timestamp_millis();
        Some(Self::from_millis(local - 1000 * offset_seconds(offset)?))
    }

    /// Reads PostgreSQL's binary form: microseconds since 2000; the extremes are the infinities.
    #[must_use]
    pub fn from_postgres_micros(micros: i64) -> Self {
        Self::from_millis(micros.saturating_add(EPOCH_2000_MICROS).div_euclid(1000))
    }

    fn from_millis(millis: i64) -> Self {
        let millis = millis.clamp(*RANGE_MS.start(), *RANGE_MS.end());
        Self(DateTime::from_timestamp_millis(millis).unwrap_or_default())
    }

    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn to_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// Clamped to years 1 to 9999.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.to_millis().saturating_add(millis))
    }

    fn to_rfc3339(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// Negative if `earlier` is the later of the two.
    #[must_use]
    pub fn since(self, earlier: Self) -> TimeDelta {
        self.0 - earlier.0
    }
}

/// Parses offsets such as `Z`, `+01`, `-03:30` or `+00:53:28`.
fn offset_seconds(offset: &str) -> Option<i64> {
    if offset == "Z" {
        return Some(0);
    }
    let (sign, digits) = offset.split_at(1);
    let mut seconds = 0;
    for (part, unit) in digits.split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some(if sign == "-" { -seconds } else { seconds })
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

/// Reads stored times ([`Timestamp::parse_stored`]); caller input goes through [`Timestamp::parse`].
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time as PostgreSQL writes it")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse_stored(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Exactly as PostgreSQL stores it: microseconds since 2000; the extremes are the infinities. For positions in an
/// ordering, where a truncated or clamped time would repeat or skip rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredMicros(pub i64);

impl StoredMicros {
    pub const INFINITY: Self = Self(i64::MAX);
    pub const MINUS_INFINITY: Self = Self(i64::MIN);

    #[must_use]
    pub fn from_timestamp(time: Timestamp) -> Self {
        Self(time.to_millis().saturating_mul(1000) - EPOCH_2000_MICROS)
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
    fn years_that_rfc_3339_cannot_write_in_utc_are_refused() {
        for text in [
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:60Z",
            "0001-01-01T00:00:00+00:01",
            "0000-12-31T23:59:59Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text:?} was read as a time");
        }
        assert!(Timestamp::parse("9999-12-31T23:59:59.999999Z").is_some());
        assert!(Timestamp::parse("0001-01-01T00:00:00Z").is_some());
    }

    #[test]
    fn whatever_is_stored_is_read_and_shown_within_the_years_1_to_9999() {
        for (stored, shown) in [
            ("2026-02-09T10:00:00.123999+01:00", "2026-02-09T09:00:00.123Z"),
            ("2026-02-09T10:00:00+05:45", "2026-02-09T04:15:00.000Z"),
            ("2026-02-09T10:00:00.5Z", "2026-02-09T10:00:00.500Z"),
            ("0001-01-01T00:53:28+00:53:28", "0001-01-01T00:00:00.000Z"),
            ("1900-01-01T00:00:00-00:44:30", "1900-01-01T00:44:30.000Z"),
            ("infinity", "9999-12-31T23:59:59.999Z"),
            ("-infinity", "0001-01-01T00:00:00.000Z"),
            ("294276-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59.999Z"),
            ("4714-11-24T00:00:00+00:00 BC", "0001-01-01T00:00:00.000Z"),
            ("0001-12-31T23:30:00-01:00 BC", "0001-01-01T00:30:00.000Z"),
        ] {
            let time = Timestamp::parse_stored(stored).unwrap_or_else(|| panic!("{stored} was not read"));
            assert_eq!(time.to_string(), shown, "for {stored}");
        }
    }

    #[test]
    fn the_binary_form_is_read_whatever_it_holds() {
        for (micros, shown) in [
            (0, "2000-01-01T00:00:00.000Z"),
            (-1, "1999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, "0001-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_postgres_micros(micros).to_string(), shown, "for {micros}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "now",
            "2026-02-09",
            "2026-02-09 10:00:00Z",
            "2026-02-09T10:00:00",
            "2026-02-30T10:00:00Z",
            "2026-02-09T10:00:00\u{2212}01:00",
            "2026-06-30T12:30:60Z",
            "2026-06-30T23:59:60+02:00",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text:?} was read as a time");
        }
    }
}
