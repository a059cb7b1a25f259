//! A failed tick, as Lambda reports it: by a stable name, without a secret.

use flag_schedules::error::{StoreError, chain};
use flag_schedules::lambda::Diagnostic;

/// A tick that could do nothing at all.
#[derive(Debug)]
pub struct TickFailed {
    error_type: &'static str,
    message: String,
}

impl TickFailed {
    /// The failure behind a store's error.
    #[must_use]
    pub fn new(error: &StoreError) -> Self {
        let error_type = match error {
            StoreError::Unavailable(_) => "DatabaseUnavailable",
            StoreError::Rejected { .. } => "DatabaseRefused",
            StoreError::Corrupt { .. } => "CorruptRow",
            StoreError::Refused(_) => "DatabaseRefused",
        };
        Self { error_type, message: chain(error) }
    }
}

impl From<TickFailed> for Diagnostic {
    fn from(failed: TickFailed) -> Self {
        Self { error_type: failed.error_type.to_owned(), error_message: failed.message }
    }
}
