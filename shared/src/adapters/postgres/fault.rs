//! Classifies PostgreSQL errors by what they mean to this service: a new SQLSTATE is an arm of [`classify`]. Codes are also
//! examined in `query_error`, `schedules` (`is_flag_gone`), `audited_write` (`is_outbox_locked`) and `migrate/connect`.

use thiserror::Error as ThisError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::ports::store_error::{Fault, StoreError};

/// SQLSTATE classes that PostgreSQL itself uses: appendix A of its manual.
const OWN_CLASSES: [&str; 44] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23",
    "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44",
    "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// Where PostgreSQL misses a prepared statement, or finds that its columns have other types than before. No SQLSTATE says as much.
const NO_LONGER_PREPARED: [&str; 2] = ["FetchPreparedStatement", "RevalidateCachedQuery"];

pub(super) fn classify(error: &Error) -> Fault {
    let Some(db) = error.as_db_error() else {
        // No response from the server: closed, cut off, refused, TLS. Anything that the driver itself rejects (a
        // value it cannot convert) is our bug.
        return if is_driver_refusal(error) { Fault::Other } else { Fault::Lost };
    };
    if matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
        return Fault::Lost;
    }
    let code = db.code();
    // What this connection has prepared is of no use any more, and nothing was executed.
    if db.routine().is_some_and(|routine| NO_LONGER_PREPARED.contains(&routine)) {
        return Fault::Lost;
    }
    match &code.code()[..2] {
        "40" => Fault::Conflict,
        "55" if *code == SqlState::LOCK_NOT_AVAILABLE => Fault::Locked,
        "57" if *code == SqlState::QUERY_CANCELED => Fault::TooSlow,
        "08" | "25" | "28" | "3D" | "53" | "55" | "57" | "58" => Fault::ServerUnavailable,
        "09" | "22" | "23" | "27" | "44" | "54" | "P0" => Fault::Rejected,
        // Not PostgreSQL's own, so a trigger raised it.
        class if !OWN_CLASSES.contains(&class) => Fault::Rejected,
        // Our statements call no procedural functions, so a trigger did.
        _ if db.where_().is_some_and(|context| context.contains("PL/")) => Fault::Rejected,
        _ => Fault::Other,
    }
}

/// Whether another connection may work: this server is read-only since a failover, or out of resources, some of which
/// the connection may hold; or a trigger left a search path or temporary tables that hide ours.
pub(super) fn needs_new_connection(error: &Error) -> bool {
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

/// The server's message, without the statement.
pub(super) fn message(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db: &DbError| db.message().to_owned())
}

/// A table, column, function or index that this release needs is missing.
#[derive(Debug, ThisError)]
#[error("the schema is not up to date: run `migrate`")]
struct Outdated(#[source] Error);

pub(super) fn store_error(error: Error) -> StoreError {
    match classify(&error) {
        Fault::Lost | Fault::Conflict | Fault::TooSlow | Fault::Locked | Fault::ServerUnavailable => {
            StoreError::Unavailable(error.into())
        }
        Fault::Rejected => StoreError::Rejected { message: message(&error), source: error.into() },
        Fault::Other if is_outdated(&error) => StoreError::Internal(Outdated(error).into()),
        Fault::Other => StoreError::Internal(error.into()),
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
