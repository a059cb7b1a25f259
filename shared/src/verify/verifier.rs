//! What verifies, and why it may fail.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::window::WindowError;
use crate::ports::store_error::StoreError;
use crate::ports::trail_reader::{ReadError, TrailReader};
use crate::ports::transitions::Transitions;

pub struct Verifier {
    pub(super) trail: Arc<dyn TrailReader>,
    pub(super) transitions: Arc<dyn Transitions>,
    pub(super) limits: Limits,
}

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Transitions in a slice. More only if they share a millisecond.
    pub(super) slice: usize,
    /// Rows in a page.
    pub(super) page: u16,
    /// Candidates that are kept before they are looked for again.
    pub(super) candidates: usize,
    /// Before that, so that events delivered a moment ago are visible.
    pub(super) settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { slice: 10_000, page: 1_000, candidates: 50_000, settle: Duration::from_secs(3) }
    }
}

/// Why a run has no result.
#[derive(Debug, Error)]
pub enum VerifyError {
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Trail(ReadError),
    #[error(
        "the outbox holds more than {0} undelivered events; verify again when the processor has delivered them"
    )]
    TooManyUndelivered(usize),
}

impl VerifyError {
    /// A stable name, for alarms and Logs Insights.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Window(_) => "InvalidInput",
            Self::Store(error) => error.name(),
            Self::Trail(_) => "TrailUnreadable",
            Self::TooManyUndelivered(_) => "TooManyUndelivered",
        }
    }
}

impl Verifier {
    #[must_use]
    pub fn new(trail: Arc<dyn TrailReader>, transitions: Arc<dyn Transitions>) -> Self {
        Self { trail, transitions, limits: Limits::default() }
    }
}
