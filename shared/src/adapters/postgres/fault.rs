//! What a PostgreSQL error means to this service.

use thiserror::Error as ThisError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::error::StoreError;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone, or of no use: discard it; a statement that is safe to repeat may be, on a new one.
    Connection,
    /// Deadlock or serialization failure: nothing was done, and it may be repeated at once.
    Conflict,
    /// The server cannot do it now: a lock or time limit, out of connections, memory or space.
    Unavailable,
    /// Something in the outbox's way: its table, a column or the permission is missing, or it is locked.
    MaybeOutbox,
    /// The data was refused: a constraint, a trigger with whatever code of its own, a value out of range.
    Data,
    /// Anything else: a bug, or a schema that is not up to date.
    Other,
}

/// The classes of error codes that PostgreSQL itself gives: appendix A of its manual.
const OWN_CLASSES: [&str; 44] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23",
    "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44",
    "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// Reads an error.
pub(super) fn fault(error: &Error) -> Fault {
    let Some(db) = error.as_db_error() else {
        // Without an answer from the server: closed, cut off, refused, TLS. What the driver itself refused (a value
        // that cannot be converted) is our bug; it has a source that is not an I/O error.
        return if is_driver_refusal(error) { Fault::Other } else { Fault::Connection };
    };
    let code = db.code();
    if matches!(*code, SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE) {
        return Fault::Conflict;
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE
        || *code == SqlState::UNDEFINED_TABLE
        || *code == SqlState::UNDEFINED_COLUMN
        || *code == SqlState::INSUFFICIENT_PRIVILEGE
    {
        return Fault::MaybeOutbox;
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Fault::Connection;
    }
    match &code.code()[..2] {
        "23" if db.table() == Some("audit_outbox") => Fault::MaybeOutbox,
        "22" | "23" | "44" | "54" | "P0" => Fault::Data,
        // Not one of the server's own: a trigger has made it up.
        class if !OWN_CLASSES.contains(&class) => Fault::Data,
        // 57014 is a statement that ran into its time limit; the rest of 57 is a server going down or coming up.
        "57" if *code == SqlState::QUERY_CANCELED => Fault::Unavailable,
        // Without resources (53) another connection may do better, and this one's may be a part of the trouble.
        "08" | "53" | "57" => Fault::Connection,
        "28" | "3D" | "55" => Fault::Unavailable,
        _ => Fault::Other,
    }
}

fn is_driver_refusal(error: &Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "invalid configuration", "unexpected message"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Whether the server gave up for the time it took: its lock or its statement timeout.
pub(super) fn is_time_limit(error: &Error) -> bool {
    has_code(error, &[SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED])
}

/// The server's own words, without the statement.
pub(super) fn words(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db: &DbError| db.message().to_owned())
}

/// A table, a column or an index that this release needs is not there.
#[derive(Debug, ThisError)]
#[error("the schema is not up to date: run `migrate`")]
struct Outdated(#[source] Error);

/// The error as the ports know it.
pub(super) fn store_error(error: Error) -> StoreError {
    match fault(&error) {
        Fault::Connection | Fault::Conflict | Fault::Unavailable => StoreError::Unavailable(error.into()),
        Fault::MaybeOutbox if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            StoreError::Unavailable(error.into())
        }
        _ if is_outdated(&error) => StoreError::Refused(Outdated(error).into()),
        Fault::MaybeOutbox | Fault::Data | Fault::Other => StoreError::Refused(error.into()),
    }
}

fn is_outdated(error: &Error) -> bool {
    has_code(
        error,
        &[SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_COLUMN_REFERENCE],
    )
}

fn has_code(error: &Error, codes: &[SqlState]) -> bool {
    error.code().is_some_and(|code| codes.contains(code))
}
