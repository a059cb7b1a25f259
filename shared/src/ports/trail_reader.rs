//! The audit log, read back.

use std::time::Instant;

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::time_range::TimeRange;
use crate::error::BoxError;

#[async_trait]
pub trait TrailReader: Send + Sync {
    /// One page of the events whose log timestamps are in `range`, in any order. `token` is that of the page before. A page
    /// may be empty although more follow. Repeats throttled and failed calls until `until`.
    async fn page(
        &self,
        range: TimeRange,
        token: Option<&str>,
        until: Instant,
    ) -> Result<TrailPage, ReadError>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrailPage {
    /// The events' messages: one line of JSON each, if this service wrote them.
    pub messages: Vec<String>,
    /// Of the next page; `None` on the last one.
    pub next: Option<String>,
}

/// Why a page could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("the time to read the audit log was up")]
    OutOfTime,
    /// Access denied, no such log group, unreachable.
    #[error("the audit log cannot be read")]
    Unreadable(#[source] BoxError),
}
