//! A failed tick, as Lambda reports it: by a stable name, without a secret.

use flag_schedules::error::{StoreError, chain};
use flag_schedules::lambda::Diagnostic;
use flag_schedules::processor::TickError;

/// A tick that could do nothing at all.
#[derive(Debug)]
pub struct TickFailed {
    error_type: &'static str,
    message: String,
}

impl TickFailed {
    /// The failure as Lambda counts it.
    #[must_use]
    pub fn new(error: &TickError) -> Self {
        let error_type = match error {
            TickError::Store(StoreError::Unavailable(_)) => "DatabaseUnavailable",
            TickError::Store(StoreError::Corrupt { .. }) => "CorruptRow",
            TickError::Store(StoreError::Refused(_) | StoreError::Rejected { .. }) => "DatabaseRefused",
            TickError::AllLocked { .. } => "AllLocked",
            TickError::OutOfTime => "OutOfTime",
        };
        Self { error_type, message: chain(error) }
    }
}

impl From<TickFailed> for Diagnostic {
    fn from(failed: TickFailed) -> Self {
        Self { error_type: failed.error_type.to_owned(), error_message: failed.message }
    }
}
