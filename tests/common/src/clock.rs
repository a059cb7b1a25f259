//! The one place where the harness asks for the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// The time of day, for tokens, events and deadlines.
pub fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock in the harness")]
    let now = SystemTime::now();
    now.into()
}

/// Milliseconds since 1970, `ahead` of now.
pub fn epoch_millis(ahead: Duration) -> u128 {
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock in the harness")]
    let now = SystemTime::now();
    (now + ahead).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
