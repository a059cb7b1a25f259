//! A PostgreSQL proxy with a script: it recognises statements on the wire and does something to one of them.
//!
//! Every statement of the service begins with `-- its_name:`, and the driver sends that comment along. So the proxy can
//! tell what a message is about without knowing the service: [`Interceptor::trace`] lists the labels that have passed,
//! and a [`Rule`] names one of them, its occurrence, and what happens to it.
//!
//! - `messages`: the frontend and backend messages, read far enough to find labels and to replace a statement;
//! - `link`: one connection through the proxy.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::database::Database;
use common::listener::{ANY, Listener};

/// The label of the statement that opens a transaction.
pub const BEGIN: &str = "begin";
/// The label of the statement that commits a transaction.
pub const COMMIT: &str = "commit";
/// The label of a message that prepares a statement by name.
pub const PREPARE: &str = "prepare";

/// Raises an error with the SQLSTATE it is given; [`Act::Raise`] needs it in the database.
pub const RAISE: &str = "create schema faults;
    grant usage on schema faults to public;
    create function faults.raise(code text) returns text language plpgsql as $$
    begin raise exception 'injected %', code using errcode = code; end $$";

/// What is done to a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// The connection is cut before the server gets it.
    CutBefore,
    /// The server gets it, and the connection is cut at once: the server is still executing it.
    CutDuring,
    /// The server executes it, and the connection is cut instead of the answer.
    LoseAnswer,
    /// It is held until [`Interceptor::release`], and then sent, even if the client has given up by then.
    Hold,
    /// It is held until [`Interceptor::release`]; then the connection is cut.
    HoldThenCut,
    /// The server ends its process for this connection before it gets it.
    Terminate,
    /// The server executes a statement that raises this SQLSTATE instead; see [`RAISE`]. A `commit` rolls back, as a
    /// commit that fails does.
    Raise(&'static str),
    /// The server has forgotten the prepared statement that it names.
    Forget,
}

/// What is done to which message.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The statement's name, or the first words of one without a name: [`BEGIN`], [`COMMIT`].
    pub label: String,
    /// Which one since [`Interceptor::begin`], from 1.
    pub occurrence: usize,
    pub act: Act,
}

/// The proxy. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Interceptor {
    url: String,
    script: Arc<Script>,
    _listener: Listener,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) superuser_url: String,
    state: Mutex<State>,
    /// How often everything that was held has been released.
    pub(super) released: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    trace: Vec<String>,
    counts: BTreeMap<String, usize>,
    rules: Vec<Rule>,
    fired: Vec<Rule>,
}

impl Interceptor {
    pub async fn before(database: &Database) -> Self {
        let url = database.url();
        let config: tokio_postgres::Config = url.parse().unwrap_or_else(|error| panic!("{error}"));
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, config.get_ports()[0]));
        let script = Arc::new(Script {
            superuser_url: database.superuser_url(),
            state: Mutex::default(),
            released: watch::Sender::new(0),
        });
        let of_connections = Arc::clone(&script);
        let carry = move |client| {
            let script = Arc::clone(&of_connections);
            async move { super::link::run(client, target, &script).await }
        };
        let listener = Listener::start(ANY, carry).await.unwrap_or_else(|error| panic!("{error}"));
        let url = url.replace(&format!(":{}/", target.port()), &format!(":{}/", listener.address().port()));
        Self { url, script, _listener: listener }
    }

    /// The database's address through the proxy.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Forgets the trace and the script, and takes these rules; each is applied once.
    pub fn begin(&self, rules: Vec<Rule>) {
        *self.script.state() = State { rules, ..State::default() };
    }

    /// What has passed since [`Interceptor::begin`]: labels in the order of their arrival.
    pub fn trace(&self) -> Vec<String> {
        self.script.state().trace.clone()
    }

    /// The rules that have been applied since [`Interceptor::begin`].
    pub fn fired(&self) -> Vec<Rule> {
        self.script.state().fired.clone()
    }

    pub fn release(&self) {
        self.script.released.send_modify(|count| *count += 1);
    }
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves valid lists.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a label; what is to be done to its message.
    pub(super) fn pass(&self, label: &str) -> Option<Act> {
        let mut state = self.state();
        state.trace.push(label.to_owned());
        let count = state.counts.entry(label.to_owned()).or_default();
        *count += 1;
        let count = *count;
        let at = state.rules.iter().position(|rule| rule.label == label && rule.occurrence == count)?;
        let rule = state.rules.remove(at);
        let act = rule.act;
        state.fired.push(rule);
        Some(act)
    }
}
