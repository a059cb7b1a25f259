//! The system clock.

use chrono::Utc;

use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;

#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::truncate(Utc::now())
    }
}
