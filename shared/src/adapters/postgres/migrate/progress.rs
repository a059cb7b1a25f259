//! A migration's progress, for the caller that has to cancel it.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::CancelToken;

#[derive(Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Clone)]
pub(super) struct State {
    /// For cancelling the running statement.
    pub(super) session: Option<CancelToken>,
    pub(super) doing: &'static str,
}

impl Default for State {
    fn default() -> Self {
        Self { session: None, doing: "connecting to the database" }
    }
}

impl Progress {
    pub(super) fn set(&self, doing: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).doing = doing;
    }

    pub(super) fn set_session(&self, session: CancelToken) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).session = Some(session);
    }

    pub(super) fn get(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
