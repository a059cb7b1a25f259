//! The store and the outbox on PostgreSQL.
//!
//! [`connector`] opens connections, with [`tls`] and perhaps [`iam`]; [`connection`] gives them out and keeps statements
//! within their time; [`fault`] reads errors and [`rows`] columns; [`schedules`], [`due`] and [`outbox`] implement the ports with the
//! statements in `sql/`, one a file.

mod audited_write;
pub mod connection;
mod connector;
mod database_url;
pub mod due;
mod fault;
pub mod iam;
pub mod migrate;
pub mod outbox;
mod outcomes;
mod query_error;
mod rds_roots;
pub mod retry;
mod rows;
pub mod schedules;
pub mod settings;
pub mod tls;

use std::sync::Arc;

use connection::Connections;

/// The ports on PostgreSQL; all of them share one pool.
#[derive(Clone)]
pub struct Postgres {
    connections: Arc<Connections>,
}

impl Postgres {
    /// The ports over these connections.
    #[must_use]
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }
}
