//! What was asked and what was stored, for tests to look at.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::fault::Fault;
use crate::limits::Rejected;

/// One event of a batch.
#[derive(Clone, Debug)]
pub struct Input {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The message.
    pub message: Arc<str>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// `PutLogEvents`, `CreateLogStream`, …
    pub action: String,
    /// The stream it is about, if any.
    pub stream: String,
    /// When it arrived.
    pub began: Instant,
    /// When it was over, if it is: answered, cut, or given up by the caller.
    pub ended: Option<Instant>,
    /// The events, for `PutLogEvents`.
    pub batch: Vec<Input>,
    /// What it broke of the protocol or the documented limits.
    pub illegal: Option<String>,
    /// What was made to go wrong with it.
    pub fault: Option<Fault>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing yet.
    Open,
    /// It was done; these events were refused for their time.
    Done(Rejected),
    /// It was refused with this error type.
    Refused(String),
    /// Something was answered that the protocol does not know.
    Garbage,
    /// The connection was cut without an answer.
    Cut,
    /// The caller did not wait for the answer.
    Abandoned,
}

/// One stored event.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The group it is in.
    pub group: String,
    /// The stream it is in.
    pub stream: String,
    /// Its CloudWatch timestamp, milliseconds since 1970.
    pub timestamp: i64,
    /// The message as sent.
    pub message: Arc<str>,
}

impl Stored {
    /// The message, which is to be one JSON object on one line.
    pub fn json(&self) -> Value {
        assert!(!self.message.contains(['\n', '\r']), "an event of several lines: {}", self.message);
        match serde_json::from_str(&self.message) {
            Ok(event @ Value::Object(_)) => event,
            Ok(_) => panic!("an event that is no JSON object: {}", self.message),
            Err(error) => panic!("an event that is not JSON ({error}): {}", self.message),
        }
    }
}
