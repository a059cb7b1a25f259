//! What was asked and what was stored, for tests to look at.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::fault::Fault;
use crate::limits::Rejected;

#[derive(Clone, Debug)]
pub struct Input {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub message: Arc<str>,
}

#[derive(Clone, Debug)]
pub struct Call {
    /// `PutLogEvents`, `CreateLogStream`, …
    pub action: String,
    /// The stream it is about, if any.
    pub stream: String,
    pub began: Instant,
    /// When it was over, if it is: answered, cut, or given up by the caller.
    pub ended: Option<Instant>,
    /// The events, for `PutLogEvents`.
    pub batch: Vec<Input>,
    /// What it broke of the protocol or the documented limits.
    pub illegal: Option<String>,
    /// What was made to go wrong with it.
    pub fault: Option<Fault>,
    pub outcome: Outcome,
}

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

#[derive(Clone, Debug)]
pub struct Stored {
    pub group: String,
    pub stream: String,
    /// Its CloudWatch timestamp, milliseconds since 1970.
    pub timestamp: i64,
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
