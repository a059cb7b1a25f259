//! What can go wrong, and what a case is called.

use std::fmt;

use harness::interceptor::Act;

/// A SQLSTATE of each class of PostgreSQL's that a statement of the service may meet, and one that nobody knows.
pub const CODES: [&str; 21] = [
    "08006", "0A000", "22003", "23514", "25006", "28000", "2D000", "3D000", "40001", "40P01", "42501",
    "42P01", "44000", "53100", "54000", "55P03", "57014", "58030", "P0001", "XX000", "ZZ999",
];

/// What is done to a message that passes.
pub const ACTS: [Act; 6] =
    [Act::CutBefore, Act::CutDuring, Act::LoseAnswer, Act::Hold, Act::HoldThenCut, Act::Terminate];

/// The service's tables.
pub const TABLES: [&str; 3] = [FLAGS, SCHEDULES, OUTBOX];
pub const FLAGS: &str = "feature_flags";
pub const SCHEDULES: &str = "feature_flag_schedules";
pub const OUTBOX: &str = "audit_outbox";

/// A message of the service to the database: a statement's name, or `begin`, `commit`, and which one of the call.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Point {
    pub label: String,
    pub occurrence: usize,
}

/// How far a trigger reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Rows of the one flag that the fault is aimed at.
    Row,
    /// Every statement.
    Statement,
}

/// One fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Something happens to a message.
    Message(Point, Act),
    /// A trigger raises this SQLSTATE before an operation (`INSERT`, `UPDATE`, `DELETE`) on a table.
    Trigger(&'static str, &'static str, Level, &'static str),
    /// Somebody holds a table exclusively.
    TableLocked(&'static str),
    /// Somebody holds rows of the one flag.
    RowsLocked(&'static str),
    /// Somebody holds every flag.
    FlagsLocked,
    /// The outbox has another name.
    OutboxMissing,
    /// The outbox may not be written.
    OutboxRefused,
    /// CloudWatch Logs stores what it gets, and answers after three seconds.
    LogsSlow,
    /// CloudWatch Logs cuts every connection.
    LogsDown,
    /// CloudWatch Logs refuses the function's credentials.
    LogsDenied,
    /// CloudWatch Logs refuses one event for its time, and then everything.
    LogsReject,
}

impl Fault {
    /// Whether its call waits for something until a limit.
    pub fn is_slow(&self) -> bool {
        match self {
            Self::Message(_, act) => matches!(act, Act::Hold | Act::HoldThenCut),
            Self::TableLocked(_) | Self::RowsLocked(_) | Self::FlagsLocked => true,
            Self::LogsSlow | Self::LogsDown => true,
            Self::Trigger(..) | Self::OutboxMissing | Self::OutboxRefused => false,
            Self::LogsDenied | Self::LogsReject => false,
        }
    }

    /// The SQLSTATE that it raises.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Message(_, Act::Raise(code)) | Self::Trigger(.., code) => Some(code),
            _ => None,
        }
    }

    /// Whether the service may take it for an outbox that cannot be written.
    pub fn may_be_outbox(&self) -> bool {
        let named = matches!(self.code(), Some("42P01" | "42501" | "23514" | "55P03"));
        named
            || matches!(
                self,
                Self::OutboxMissing
                    | Self::OutboxRefused
                    | Self::TableLocked(_)
                    | Self::RowsLocked(_)
                    | Self::Trigger(OUTBOX, ..)
            )
    }

    /// Whether somebody holds something.
    pub fn is_lock(&self) -> bool {
        matches!(self, Self::TableLocked(_) | Self::RowsLocked(_) | Self::FlagsLocked)
    }

    /// Whether it is about the one flag only, and all others must not notice.
    pub fn is_aimed(&self) -> bool {
        matches!(
            self,
            Self::RowsLocked(FLAGS | SCHEDULES) | Self::Trigger(FLAGS | SCHEDULES, _, Level::Row, _)
        )
    }

    /// Whether it is on the way to CloudWatch Logs only.
    pub fn is_of_logs(&self) -> bool {
        matches!(self, Self::LogsSlow | Self::LogsDown | Self::LogsDenied | Self::LogsReject)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.label.replace(' ', "_"), self.occurrence)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(point, act) => {
                let act = match act {
                    Act::CutBefore => "cut-before",
                    Act::CutDuring => "cut-during",
                    Act::LoseAnswer => "lose-answer",
                    Act::Hold => "stall",
                    Act::HoldThenCut => "stall-then-cut",
                    Act::Terminate => "terminate",
                    Act::Forget => "forget",
                    Act::Raise(code) => return write!(f, "{point}/raise-{code}"),
                };
                write!(f, "{point}/{act}")
            }
            Self::Trigger(table, operation, level, code) => {
                let level = if *level == Level::Row { "one-flag" } else { "all" };
                write!(f, "trigger/{table}/{}/{level}/{code}", operation.to_lowercase())
            }
            Self::TableLocked(table) => write!(f, "table-locked/{table}"),
            Self::RowsLocked(table) => write!(f, "rows-locked/{table}"),
            Self::FlagsLocked => write!(f, "flags-locked"),
            Self::OutboxMissing => write!(f, "outbox-missing"),
            Self::OutboxRefused => write!(f, "outbox-refused"),
            Self::LogsSlow => write!(f, "logs-slow"),
            Self::LogsDown => write!(f, "logs-down"),
            Self::LogsDenied => write!(f, "logs-denied"),
            Self::LogsReject => write!(f, "logs-reject"),
        }
    }
}
