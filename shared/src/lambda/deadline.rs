//! Lambda's deadlines on this process's clock.

use std::time::{Duration, Instant};

use crate::adapters::clock::SystemClock;
use crate::ports::clock::Clock;

/// Smaller deadlines (before September 2001) are not epoch milliseconds.
const MIN_PLAUSIBLE_EPOCH_MS: u64 = 1_000_000_000_000;
/// The time limit where the deadline is unknown: the processor's.
const DEFAULT_LIMIT_MS: u64 = 90_000;

/// When an invocation ends, from Lambda's epoch milliseconds. `cargo lambda watch` sends meaningless small numbers: then
/// the invocation has 90 s.
#[must_use]
pub fn deadline_of(deadline_ms: u64) -> Instant {
    let now = u64::try_from(SystemClock.now().to_utc().timestamp_millis()).unwrap_or_default();
    let left =
        if deadline_ms < MIN_PLAUSIBLE_EPOCH_MS { DEFAULT_LIMIT_MS } else { deadline_ms.saturating_sub(now) };
    Instant::now() + Duration::from_millis(left)
}
