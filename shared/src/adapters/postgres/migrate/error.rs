//! Errors of `migrate`.

use thiserror::Error;

use super::super::tls::ConnectionsError;
use super::validate::Mismatches;
use crate::error::BoxError;

/// In every case, nothing has changed.
#[derive(Debug, Error)]
pub enum MigrateError {
    #[error("{variable} cannot be used: {0}", variable = .0.variable())]
    Connections(#[from] ConnectionsError),
    /// No connection, or the lock could not be taken.
    #[error("the database is not available")]
    Unavailable(#[source] BoxError),
    #[error("this database cannot be used, and nothing was changed: {0}")]
    Unusable(Mismatches),
    #[error("a migration failed")]
    Failed(#[source] BoxError),
    #[error("the roles could not be given their rights")]
    Grants(#[source] BoxError),
    #[error("the time was up while {doing}")]
    OutOfTime { doing: &'static str },
}
