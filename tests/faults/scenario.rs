//! What is called while a fault is there, on flags of the case's own.

use std::fmt;
use std::sync::OnceLock;

use harness::api::{SCHEDULE, cancel_request, create_request, list_request, tick_event};
use harness::gateway::Request;
use harness::interceptor::{Act, COMMIT};
use harness::{lambda, openapi};
use serde_json::{Value, json};

use super::fault_kinds::{self, Fault, Level, Point};
use crate::support::in_seconds;

/// `GET` of schedules across flags.
const ALL_SCHEDULES: &str = "/api/admin/schedules";

/// A call of one function.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scenario {
    /// A create with an idempotency key.
    Create,
    /// A create without a key whose first answer was lost: the service repeats the statement and meets its own row.
    CreateAgain,
    /// A cancel of a pending schedule.
    Cancel,
    /// A page of a flag's schedules.
    List,
    /// One schedule.
    Get,
    /// A page across flags.
    ListAll,
    /// A tick with four due schedules of three flags, one of them invalid, and an event that stayed behind.
    Tick,
    /// The same tick, when the answer to its first commit was lost.
    TickAgain,
    /// The same tick, when somebody holds every flag.
    TickLocked,
    /// The same tick, when CloudWatch Logs refuses an event for its time.
    TickRejected,
    /// The same tick with one more schedule, which comes due while it waits.
    TickWaits,
    /// A comparison of the trail with the database.
    Verify,
}

impl Scenario {
    pub const ALL: [Self; 12] = [
        Self::Create,
        Self::CreateAgain,
        Self::Cancel,
        Self::List,
        Self::Get,
        Self::ListAll,
        Self::Tick,
        Self::TickAgain,
        Self::TickLocked,
        Self::TickRejected,
        Self::TickWaits,
        Self::Verify,
    ];

    /// The function that is called.
    pub fn function(self) -> &'static str {
        match self {
            Self::Create | Self::CreateAgain => "create-schedule",
            Self::Cancel => "cancel-schedule",
            Self::List | Self::Get | Self::ListAll => "list-schedules",
            Self::Tick | Self::TickAgain | Self::TickLocked | Self::TickRejected | Self::TickWaits => {
                "schedule-processor"
            }
            Self::Verify => "verify-trail",
        }
    }

    /// Whether it is one of this release's: the API's description has its route, or its function is built.
    pub fn exists(self) -> bool {
        let described = |route: &str| openapi::document().root()["paths"][route]["get"].is_object();
        match self {
            Self::Get => described(SCHEDULE),
            Self::ListAll => described(ALL_SCHEDULES),
            Self::Verify => lambda::binary("verify-trail").is_ok(),
            Self::Create | Self::CreateAgain | Self::Cancel | Self::List => true,
            Self::Tick | Self::TickAgain | Self::TickLocked | Self::TickRejected | Self::TickWaits => true,
        }
    }

    /// Whether it is a tick.
    pub fn is_tick(self) -> bool {
        matches!(self, Self::Tick | Self::TickAgain | Self::TickLocked | Self::TickRejected | Self::TickWaits)
    }

    /// Faults that belong to it.
    pub fn base(self) -> Vec<Fault> {
        match self {
            Self::CreateAgain => vec![lost("create_schedule")],
            Self::TickAgain => vec![lost(COMMIT)],
            Self::TickLocked => vec![Fault::FlagsLocked],
            Self::TickRejected => vec![Fault::LogsReject],
            _ => Vec::new(),
        }
    }

    /// Whether it changes something for a caller, who asks again after a 5xx.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Create | Self::CreateAgain | Self::Cancel)
    }

    /// What it writes to, as triggers see it.
    pub fn written(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Create => &[
                (fault_kinds::SCHEDULES, "INSERT"),
                (fault_kinds::OUTBOX, "INSERT"),
                (fault_kinds::OUTBOX, "DELETE"),
            ],
            Self::Cancel => &[
                (fault_kinds::SCHEDULES, "UPDATE"),
                (fault_kinds::OUTBOX, "INSERT"),
                (fault_kinds::OUTBOX, "DELETE"),
            ],
            Self::Tick => &[
                (fault_kinds::FLAGS, "UPDATE"),
                (fault_kinds::SCHEDULES, "UPDATE"),
                (fault_kinds::OUTBOX, "INSERT"),
                (fault_kinds::OUTBOX, "DELETE"),
            ],
            _ => &[],
        }
    }

    /// The faults besides those of messages.
    pub fn other_faults(self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (table, operation) in self.written() {
            for code in fault_kinds::CODES {
                faults.push(Fault::Trigger(table, operation, Level::Row, code));
                faults.push(Fault::Trigger(table, operation, Level::Statement, code));
            }
        }
        if self.base().is_empty() && self != Self::TickWaits {
            faults.extend(fault_kinds::TABLES.map(Fault::TableLocked));
            faults.extend(fault_kinds::TABLES.map(Fault::RowsLocked));
        }
        if matches!(self, Self::Create | Self::Cancel | Self::Tick) {
            faults.extend([Fault::OutboxMissing, Fault::OutboxRefused]);
            faults.extend([Fault::LogsSlow, Fault::LogsDown, Fault::LogsDenied]);
        }
        faults
    }

    /// The event of the call: `name` begins the keys of the case's flags, `schedule` is the one that is there.
    pub fn event(self, name: &str, schedule: &str, token: &str) -> Value {
        let flag = format!("{name}-a");
        let request = match self {
            Self::Create => create_request(&flag, "", &body()).header("idempotency-key", name),
            Self::CreateAgain => create_request(&flag, "", &body()),
            Self::Cancel => cancel_request(&flag, schedule, "reason=changed%20my%20mind"),
            Self::List => list_request(&flag, "limit=2"),
            Self::Get => Request::new("GET", SCHEDULE)
                .path_parameter("flagKey", &flag)
                .path_parameter("scheduleId", schedule),
            Self::ListAll => Request::new("GET", ALL_SCHEDULES),
            Self::Tick | Self::TickAgain | Self::TickLocked | Self::TickRejected | Self::TickWaits => {
                return tick_event();
            }
            Self::Verify => return json!({}),
        };
        request.bearer(token).event()
    }
}

/// The loss of the answer to the first message of this label.
fn lost(label: &str) -> Fault {
    Fault::Message(Point { label: label.to_owned(), occurrence: 1 }, Act::LoseAnswer)
}

/// The same body in every attempt: a retry with another one would be another request.
fn body() -> Value {
    static BODY: OnceLock<Value> = OnceLock::new();
    let body =
        || json!({"scheduled_at": in_seconds(3600), "updates": {"enabled": true, "rollout_percentage": 30}});
    BODY.get_or_init(body).clone()
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::CreateAgain => "create-again",
            Self::Cancel => "cancel",
            Self::List => "list",
            Self::Get => "get",
            Self::ListAll => "list-all",
            Self::Tick => "tick",
            Self::TickAgain => "tick-again",
            Self::TickLocked => "tick-locked",
            Self::TickRejected => "tick-rejected",
            Self::TickWaits => "tick-waits",
            Self::Verify => "verify",
        })
    }
}
