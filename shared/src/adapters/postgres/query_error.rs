//! Errors of database statements, before they become errors of the ports.

use std::error::Error;

use thiserror::Error as ThisError;
use tokio_postgres::error::SqlState;

use super::fault;
use crate::ports::store_error::{Fault, StoreError};

#[derive(Debug, Clone, Copy, ThisError)]
#[error("{0} took longer than it may")]
pub(super) struct TooSlow(pub(super) &'static str);

#[derive(Debug)]
pub(super) enum QueryError {
    Driver(tokio_postgres::Error),
    /// The named operation exceeded its time limit.
    TooSlow(&'static str),
    /// No connection, or a result that the statement should never return.
    Store(StoreError),
}

impl QueryError {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Driver(error) => fault::classify(error),
            Self::TooSlow(_) => Fault::TooSlow,
            Self::Store(StoreError::Unavailable(_)) => Fault::ServerUnavailable,
            Self::Store(StoreError::Rejected { .. }) => Fault::Rejected,
            Self::Store(StoreError::Internal(_) | StoreError::Corrupt { .. }) => Fault::Other,
        }
    }

    /// Whether an unwritable outbox can cause this error code.
    pub(super) fn is_typical_of_outbox(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        error.code().is_some_and(|code| {
            code.code().starts_with("23") || ["42P01", "42703", "42501"].contains(&code.code())
        })
    }

    pub(super) fn is_duplicate_schedule(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        error.as_db_error().is_some_and(|db| {
            *db.code() == SqlState::UNIQUE_VIOLATION && db.table() == Some("feature_flag_schedules")
        })
    }

    pub(super) fn needs_new_connection(&self) -> bool {
        matches!(self, Self::Driver(error) if fault::needs_new_connection(error))
    }

    /// The server's message, without the statement.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Driver(error) => fault::message(error),
            Self::TooSlow(what) => TooSlow(what).to_string(),
            Self::Store(error) => error.source().map_or_else(|| error.to_string(), ToString::to_string),
        }
    }
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<QueryError> for StoreError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Driver(error) => fault::store_error(error),
            QueryError::TooSlow(what) => Self::Unavailable(TooSlow(what).into()),
            QueryError::Store(error) => error,
        }
    }
}
