//! A stand-in for CloudWatch Logs: strict where the emulator is lenient, with faults on demand.
//!
//! A loopback HTTP server in the test's own process that speaks the wire protocol, holds every `PutLogEvents` against
//! all documented limits, keeps what was asked of it, and takes a script of faults.
//!
//! - [`limits`]: what is a legal batch, and which events of it are refused for their time;
//! - [`fault`]: what can be made to go wrong;
//! - [`record`]: what a test can look at;
//! - `state` and `wire`: groups, streams and events behind HTTP.

pub mod fault;
mod group;
pub mod limits;
pub mod logs_client;
pub mod record;
mod state;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;

pub use fault::Fault;
pub use group::{LogGroup, Record};
pub use record::{Call, Outcome, Stored};

use common::http::server::Server;
use state::State;

/// How long a test waits for a call or an event.
const LIMIT: Duration = Duration::from_secs(30);

/// A running service. Dropping it ends it and all its connections.
#[derive(Debug)]
pub struct CloudWatch {
    server: Server,
    state: Arc<watch::Sender<State>>,
}

impl CloudWatch {
    /// Starts it, healthy and without log groups.
    pub async fn start() -> Self {
        let state = Arc::new(watch::Sender::new(State::default()));
        let server = wire::start(Arc::clone(&state)).await.unwrap_or_else(|error| panic!("{error}"));
        Self { server, state }
    }

    /// Its address, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Does this to the next `calls` of `PutLogEvents`; what was asked for before comes first.
    pub fn next(&self, calls: usize, fault: Fault) {
        self.state.send_modify(|state| state.script.extend(std::iter::repeat_n(fault, calls)));
    }

    /// Does this to all `PutLogEvents`, once those asked for by [`CloudWatch::next`] are used up.
    pub fn from_now_on(&self, fault: Fault) {
        self.state.send_modify(|state| state.lasting = Some(fault));
    }

    /// Answers to `PutLogEvents` come this late from now on, whatever they are; events are stored at once.
    pub fn slow_down(&self, by: Duration) {
        self.state.send_modify(|state| state.delay = by);
    }

    /// Ends all faults. Calls that are never answered stay unanswered.
    pub fn heal(&self) {
        self.state.send_modify(|state| {
            state.script.clear();
            state.lasting = None;
            state.delay = Duration::ZERO;
            state.denied.clear();
        });
    }

    /// Denies another action, such as `CreateLogStream`, to everybody.
    pub fn deny(&self, action: &'static str) {
        self.state.send_modify(|state| {
            state.denied.insert(action);
        });
    }

    /// Refuses this many reads as too many.
    pub fn throttle_reads(&self, calls: usize) {
        self.state.send_modify(|state| state.throttled_reads = calls);
    }

    /// Changes what is stored, as nobody can who has only the protocol.
    pub fn tamper(&self, change: impl FnOnce(&mut Vec<Stored>)) {
        self.state.send_modify(|state| change(&mut state.stored));
    }

    /// Stops its clock at this time.
    pub fn stop_clock(&self, at: DateTime<Utc>) {
        self.state.send_modify(|state| state.clock = Some(at.timestamp_millis()));
    }

    /// Deletes a group; what was stored can still be looked at here.
    pub fn delete_group(&self, group: &str) {
        self.state.send_modify(|state| drop(state.groups.remove(group)));
    }

    /// Deletes a stream; what was stored can still be looked at here.
    pub fn delete_stream(&self, group: &str, stream: &str) {
        self.state.send_modify(|state| {
            state.groups.get_mut(group).map(|group| group.streams.remove(stream));
        });
    }

    /// Cuts all connections, also those that nobody uses at the moment.
    pub fn cut_connections(&self) {
        self.server.cut_connections();
    }

    /// All calls so far, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state.borrow().calls.clone()
    }

    /// The calls of one action so far.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.state.borrow().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// The calls of `PutLogEvents` so far.
    pub fn puts(&self) -> Vec<Call> {
        self.calls_of("PutLogEvents")
    }

    /// All stored events, in the order of their arrival.
    pub fn stored(&self) -> Vec<Stored> {
        self.state.borrow().stored.clone()
    }

    /// All stored events as JSON, in the order of their arrival.
    pub fn events(&self) -> Vec<Value> {
        self.stored().iter().map(Stored::json).collect()
    }

    /// Takes out all stored events, and forgets calls that are over: what keeps the memory of a long run small.
    pub fn take_stored(&self) -> Vec<Stored> {
        let mut stored = Vec::new();
        self.state.send_modify(|state| stored = state.take_stored());
        stored
    }

    /// Waits until the calls of `PutLogEvents` are as wanted; gives them.
    pub async fn wait_for_puts(&self, wanted: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut state = self.state.subscribe();
        let puts = |state: &State| -> Vec<Call> {
            state.calls.iter().filter(|call| call.action == "PutLogEvents").cloned().collect()
        };
        let as_wanted = state.wait_for(|state| wanted(&puts(state)));
        match tokio::time::timeout(LIMIT, as_wanted).await {
            Ok(Ok(state)) => puts(&state),
            _ => panic!("the calls of PutLogEvents are not as wanted after {LIMIT:?}: {:#?}", self.puts()),
        }
    }

    /// Checks that every call kept to the protocol and to the documented limits.
    pub fn assert_all_legal(&self) {
        let state = self.state.borrow();
        let illegal: Vec<&str> = state.calls.iter().filter_map(|call| call.illegal.as_deref()).collect();
        assert!(illegal.is_empty(), "illegal calls: {illegal:#?}");
    }
}
