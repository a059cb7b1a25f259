//! Ranges of time.

use super::time::Timestamp;

/// Times from `from`, inclusive, to `to`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl TimeRange {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}
