//! Page cursors: opaque base64url without padding, valid only for the list and filter they were issued for. The checksum
//! detects misused and made-up cursors. It is not a secret and need not be: a cursor only says where a page starts.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::flag::FlagAddress;
use crate::domain::schedule::{ScheduleId, Status};
use crate::domain::time::{StoredMicros, Timestamp};
use crate::ports::schedules::{AcrossFlagsQuery, PagePosition};

const VERSION: u8 = 2;
/// Version, kind of time, time, id, checksum.
const LENGTH: usize = 1 + 1 + 8 + 16 + 8;

/// Kinds of `scheduled_at`.
const FINITE: u8 = 0;
const INFINITY: u8 = 1;
const MINUS_INFINITY: u8 = 2;
/// Finite `timestamptz` values in microseconds since 2000: 4714 BC to 294276 AD.
const FINITE_RANGE: Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// A list with its filter: a cursor is good for this one only.
#[derive(Debug)]
pub struct Scope(Vec<String>);

impl Scope {
    #[must_use]
    pub fn of_flag(flag: &FlagAddress, status: Option<Status>) -> Self {
        let status = status.map_or("", Status::as_str);
        Self([flag.key.as_str(), flag.environment.as_str(), status].map(str::to_owned).into())
    }

    /// No flag has an empty key.
    #[must_use]
    pub fn across_flags(query: &AcrossFlagsQuery) -> Self {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let mut parts = ["", query.environment.as_str(), query.status.as_str(), query.order.as_str()]
            .map(str::to_owned)
            .to_vec();
        parts.extend([time(query.from), time(query.to)]);
        Self(parts)
    }
}

#[must_use]
pub fn encode(scope: &Scope, position: PagePosition) -> String {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.push(VERSION);
    let (kind, micros) = match position.scheduled_at {
        StoredMicros::INFINITY => (INFINITY, 0),
        StoredMicros::MINUS_INFINITY => (MINUS_INFINITY, 0),
        StoredMicros(micros) => (FINITE, micros),
    };
    bytes.push(kind);
    bytes.extend(micros.to_be_bytes());
    bytes.extend(position.id.0.as_bytes());
    bytes.extend(checksum(scope, &bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` unless issued for this scope.
#[must_use]
pub fn decode(scope: &Scope, text: &str) -> Option<PagePosition> {
    let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (content, sum) = bytes.split_at(LENGTH - 8);
    if content[0] != VERSION || sum != checksum(scope, content).to_be_bytes() {
        return None;
    }
    let scheduled_at = match (content[1], i64::from_be_bytes(content[2..10].try_into().ok()?)) {
        (FINITE, micros) if FINITE_RANGE.contains(&micros) => StoredMicros(micros),
        (INFINITY, 0) => StoredMicros::INFINITY,
        (MINUS_INFINITY, 0) => StoredMicros::MINUS_INFINITY,
        _ => return None,
    };
    Some(PagePosition { scheduled_at, id: ScheduleId(Uuid::from_bytes(content[10..].try_into().ok()?)) })
}

/// 64-bit FNV-1a (draft-eastlake-fnv) over the scope and the content.
fn checksum(Scope(parts): &Scope, content: &[u8]) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    // End each part with a byte that never occurs in UTF-8, so that parts cannot run together.
    let parts = parts.iter().map(String::as_bytes).chain([content]);
    parts.fold(0xcbf2_9ce4_8422_2325, |hash, part| step(part.iter().copied().fold(hash, step), 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flag::{Environment, FlagKey};
    use crate::ports::schedules::Order;

    fn flag(key: &str, environment: &str) -> FlagAddress {
        FlagAddress {
            key: FlagKey::parse(key.to_owned()).unwrap(),
            environment: Environment::parse(environment.to_owned()).unwrap(),
        }
    }

    fn of(flag: &FlagAddress, status: Option<Status>) -> Scope {
        Scope::of_flag(flag, status)
    }

    const HERE: PagePosition = at(StoredMicros(823_942_800_123_456));

    const fn at(scheduled_at: StoredMicros) -> PagePosition {
        PagePosition { scheduled_at, id: ScheduleId(Uuid::from_u128(7)) }
    }

    #[test]
    fn a_cursor_says_any_time_that_a_row_may_have_and_no_other() {
        let flag = flag("a", "production");
        for time in [
            0,
            FINITE_RANGE.start,
            FINITE_RANGE.end - 1,
            StoredMicros::INFINITY.0,
            StoredMicros::MINUS_INFINITY.0,
        ] {
            let position = at(StoredMicros(time));
            assert_eq!(
                decode(&of(&flag, None), &encode(&of(&flag, None), position)),
                Some(position),
                "for {time}"
            );
        }
        for time in [FINITE_RANGE.start - 1, FINITE_RANGE.end, i64::MAX - 1, i64::MIN + 1] {
            assert_eq!(
                decode(&of(&flag, None), &encode(&of(&flag, None), at(StoredMicros(time)))),
                None,
                "for {time}"
            );
        }
        for (kind, micros) in
            [(FINITE, i64::MAX), (FINITE, i64::MIN), (INFINITY, 1), (MINUS_INFINITY, i64::MIN), (3, 0)]
        {
            let mut bytes = vec![VERSION, kind];
            bytes.extend(micros.to_be_bytes());
            bytes.extend(HERE.id.0.as_bytes());
            bytes.extend(checksum(&of(&flag, None), &bytes).to_be_bytes());
            assert_eq!(
                decode(&of(&flag, None), &URL_SAFE_NO_PAD.encode(bytes)),
                None,
                "for {kind}, {micros}"
            );
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let flag = flag("a", "production");
        let text = encode(&of(&flag, Some(Status::Pending)), HERE);

        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
        assert_eq!(decode(&of(&flag, Some(Status::Pending)), &text), Some(HERE));
    }

    #[test]
    fn a_cursor_is_good_for_its_own_flag_environment_and_filter_only() {
        let text = encode(&of(&flag("a", "bc"), Some(Status::Pending)), HERE);

        assert_eq!(decode(&of(&flag("ab", "c"), Some(Status::Pending)), &text), None);
        assert_eq!(decode(&of(&flag("a", "production"), Some(Status::Pending)), &text), None);
        assert_eq!(decode(&of(&flag("a", "bc"), None), &text), None);
    }

    #[test]
    fn a_cursor_across_flags_is_good_for_its_own_filter_only() {
        let query = AcrossFlagsQuery {
            environment: Environment::default(),
            status: Status::Pending,
            from: None,
            to: None,
            order: Order::Ascending,
            limit: 1,
            after: None,
        };
        let time = Timestamp::parse("2026-02-09T09:00:00Z");
        let text = encode(&Scope::across_flags(&query), HERE);

        let more = AcrossFlagsQuery { limit: 2, ..query.clone() };
        assert_eq!(decode(&Scope::across_flags(&more), &text), Some(HERE));
        for other in [
            AcrossFlagsQuery { environment: Environment::parse("b".to_owned()).unwrap(), ..query.clone() },
            AcrossFlagsQuery { status: Status::Applied, ..query.clone() },
            AcrossFlagsQuery { from: time, ..query.clone() },
            AcrossFlagsQuery { to: time, ..query.clone() },
            AcrossFlagsQuery { order: Order::Descending, ..query.clone() },
        ] {
            assert_eq!(decode(&Scope::across_flags(&other), &text), None, "{other:?}");
        }
        assert_eq!(decode(&of(&flag("a", "production"), Some(Status::Pending)), &text), None);
    }

    #[test]
    fn a_made_up_cursor_is_refused() {
        let flag = flag("a", "production");
        let text = encode(&of(&flag, None), HERE);

        for (index, _) in text.char_indices() {
            let mut forged = text.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(decode(&of(&flag, None), &String::from_utf8(forged).unwrap()), None, "at {index}");
        }
        for made_up in ["", "x", "AAAA", &format!("{text}="), &format!("{text}AA")] {
            assert_eq!(decode(&of(&flag, None), made_up), None, "{made_up:?}");
        }
    }
}
