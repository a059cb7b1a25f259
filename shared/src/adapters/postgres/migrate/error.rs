//! Why a migration failed.

use thiserror::Error;

use super::super::tls::ConnectionsError;
use super::validate::Mismatches;
use crate::error::BoxError;

/// Why the database could not be brought up to date. Nothing has changed.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// TLS cannot be set up.
    #[error("{variable} cannot be used: {0}", variable = .0.variable())]
    Connections(#[from] ConnectionsError),
    /// No connection, or the lock could not be taken.
    #[error("the database is not available")]
    Unavailable(#[source] BoxError),
    /// Tables, or the database itself, are such that the code could not use them.
    #[error("this database cannot be used, and nothing was changed: {0}")]
    Unusable(Mismatches),
    /// A migration failed.
    #[error("a migration failed")]
    Failed(#[source] BoxError),
    /// The other functions' roles could not be given their rights.
    #[error("the roles could not be given their rights")]
    Grants(#[source] BoxError),
    /// The time was up.
    #[error("the time was up while {doing}")]
    OutOfTime {
        /// What it was used up by.
        doing: &'static str,
    },
}
