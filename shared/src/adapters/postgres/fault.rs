//! What a PostgreSQL error means to this service.

use thiserror::Error as ThisError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::ports::store_error::{Fault, StoreError};

/// The classes of error codes that PostgreSQL itself gives: appendix A of its manual.
const OWN_CLASSES: [&str; 44] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23",
    "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44",
    "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// Reads an error.
pub(super) fn classify(error: &Error) -> Fault {
    let Some(db) = error.as_db_error() else {
        // Without an answer from the server: closed, cut off, refused, TLS. What the driver itself refused (a value
        // that cannot be converted) is our bug.
        return if is_driver_refusal(error) { Fault::Other } else { Fault::Lost };
    };
    if matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
        return Fault::Lost;
    }
    let code = db.code();
    match &code.code()[..2] {
        "40" => Fault::Conflict,
        "55" if *code == SqlState::LOCK_NOT_AVAILABLE => Fault::Locked,
        "57" if *code == SqlState::QUERY_CANCELED => Fault::TooSlow,
        "08" | "25" | "28" | "3D" | "53" | "55" | "57" | "58" => Fault::Unavailable,
        "09" | "22" | "23" | "27" | "44" | "54" | "P0" => Fault::Rejected,
        // Not one of the server's own: a trigger has made it up.
        class if !OWN_CLASSES.contains(&class) => Fault::Rejected,
        // Our statements call no procedural function: a trigger does.
        _ if db.where_().is_some_and(|context| context.contains("PL/")) => Fault::Rejected,
        _ => Fault::Other,
    }
}

/// Whether another connection may do better: this one's server is read-only since a failover, or out of resources, of which
/// the connection may hold some; or a trigger has left a search path or temporary tables behind that hide ours.
pub(super) fn is_spent(error: &Error) -> bool {
    is_outdated(error)
        || error.code().is_some_and(|code| {
            *code == SqlState::READ_ONLY_SQL_TRANSACTION || ["08", "53", "57"].contains(&&code.code()[..2])
        })
}

fn is_driver_refusal(error: &Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "invalid configuration", "unexpected message"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// The message that PostgreSQL returned, without the statement.
pub(super) fn message(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db: &DbError| db.message().to_owned())
}

/// A table, a column or an index that this release needs is not there.
#[derive(Debug, ThisError)]
#[error("the schema is not up to date: run `migrate`")]
struct Outdated(#[source] Error);

/// The error as the ports know it.
pub(super) fn store_error(error: Error) -> StoreError {
    match classify(&error) {
        Fault::Lost | Fault::Conflict | Fault::TooSlow | Fault::Locked | Fault::Unavailable => {
            StoreError::Unavailable(error.into())
        }
        Fault::Rejected => StoreError::Rejected { message: message(&error), source: error.into() },
        Fault::Other if is_outdated(&error) => StoreError::Refused(Outdated(error).into()),
        Fault::Other => StoreError::Refused(error.into()),
    }
}

fn is_outdated(error: &Error) -> bool {
    let codes = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_COLUMN_REFERENCE,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}
