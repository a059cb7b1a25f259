//! The ports on PostgreSQL. `connector` opens connections, with `tls` and optionally `iam`; `connection`
//! pools them and enforces time limits, `session` prepares statements; `fault` classifies errors and `rows` reads columns; `schedules`,
//! `schedule_reader`, `due`, `outbox` and `transitions` implement the ports with the statements in `sql/`, one per file.

mod audited_write;
pub mod connection;
mod connector;
mod database_url;
pub mod due;
mod fault;
mod held_events;
pub mod iam;
pub mod migrate;
pub mod outbox;
mod outcomes;
mod query_error;
mod rds_roots;
pub mod retry;
mod rows;
mod schedule_reader;
pub mod schedules;
mod session;
pub mod settings;
pub mod tls;
mod transitions;

use std::sync::Arc;

use connection::Connections;

/// All ports share one pool.
#[derive(Clone)]
pub struct Postgres {
    connections: Arc<Connections>,
}

impl Postgres {
    #[must_use]
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }
}
