//! What comes of starting, invoking and stopping a function.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

/// What the caller of a function gets.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's id of this invocation; empty when the function did not start.
    pub request_id: String,
    pub outcome: Outcome,
    /// How long the caller waited, without a start of the process.
    pub response_after: Duration,
}

impl Invocation {
    pub fn value(self) -> Value {
        match self.outcome {
            Outcome::Ok(value) => value,
            Outcome::FunctionError(error) => panic!("the function failed: {error}"),
            Outcome::TimedOut => panic!("the function timed out after {:?}", self.response_after),
        }
    }

    pub fn error(self) -> FunctionError {
        match self.outcome {
            Outcome::FunctionError(error) => error,
            other => panic!("the function was expected to fail, but: {other:?}"),
        }
    }
}

/// How an invocation ended for its caller.
#[derive(Clone, Debug)]
pub enum Outcome {
    Ok(Value),
    /// The function reported an error, or its process ended.
    FunctionError(FunctionError),
    /// The process was killed at the function's time limit.
    TimedOut,
}

impl Outcome {
    pub(super) fn error(error_type: &str, message: &str) -> Self {
        Self::FunctionError(FunctionError { error_type: error_type.to_owned(), message: message.to_owned() })
    }
}

/// An error as Lambda hands it to the caller.
#[derive(Clone, Debug)]
pub struct FunctionError {
    /// `errorType`; `Runtime.ExitError` when the process ended.
    pub error_type: String,
    /// `errorMessage`.
    pub message: String,
}

impl FunctionError {
    pub(super) fn parse(body: &[u8]) -> Self {
        let error: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        Self { error_type: text("errorType"), message: text("errorMessage") }
    }

    pub(super) fn exit(status: Option<&ExitStatus>) -> Self {
        let status = status.map_or_else(|| "unknown status".to_owned(), ToString::to_string);
        Self {
            error_type: "Runtime.ExitError".to_owned(),
            message: format!("Runtime exited with error: {status}"),
        }
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

/// How the environment came to rest after an invocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The runtime and all extensions wait for their next event.
    Idle,
    Exited,
    /// The process was killed at the function's time limit, perhaps after the caller had its answer.
    TimedOut,
}

#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// From the invocation to the environment being at rest, with what its extensions did after the answer.
    pub done_after: Duration,
    pub end: End,
}

#[derive(Clone, Debug)]
pub struct Exit {
    /// The exit code; none when a signal ended it, or there was no process.
    pub code: Option<i32>,
    /// The signal that ended it: 9 when it did not heed SIGTERM in time.
    pub signal: Option<i32>,
    pub logs: Vec<String>,
}

impl Exit {
    /// The reason of an exit before the first event: `cause` in the only line, which is JSON.
    #[track_caller]
    pub fn cause(&self) -> String {
        let line = match &self.logs[..] {
            [line] => serde_json::from_str::<Value>(line).unwrap_or_default(),
            _ => panic!("expected one line: {self:#?}"),
        };
        assert_eq!(line["level"], "ERROR", "{self:#?}");
        line["cause"].as_str().unwrap_or_else(|| panic!("expected a cause: {self:#?}")).to_owned()
    }

    pub(super) fn of(status: Option<ExitStatus>, logs: Vec<String>) -> Self {
        let (code, signal) = status.map_or((None, None), |status| (status.code(), status.signal()));
        Self { code, signal, logs }
    }
}
