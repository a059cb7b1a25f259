//! The audit log.

use std::time::Instant;

use async_trait::async_trait;
use thiserror::Error;

use crate::error::BoxError;

#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Sends one batch within the limits of `PutLogEvents`, and returns the indexes of the events whose timestamps were
    /// rejected; all others are stored. A batch that may have been stored is not sent again: that is
    /// [`PutError::Ambiguous`]. Returns by `deadline`.
    async fn put(&self, batch: &[LogEvent], deadline: Instant) -> Result<Vec<usize>, PutError>;
}

/// An event as the audit log takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// One line of JSON.
    pub message: String,
}

/// Why a batch was not stored.
#[derive(Debug, Error)]
pub enum PutError {
    /// Unreachable, throttled, access denied, or no such log group. The events are fine and can be sent later.
    #[error("CloudWatch Logs did not take the events")]
    Unavailable(#[source] BoxError),
    /// The batch was sent, but no response arrived: it may have been stored.
    #[error("CloudWatch Logs may or may not have taken the events")]
    Ambiguous(#[source] BoxError),
    /// At least one event of the batch is invalid, so sending the batch again cannot help.
    #[error("CloudWatch Logs refused the batch")]
    Invalid(#[source] BoxError),
}
