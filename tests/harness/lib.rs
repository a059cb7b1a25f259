//! The test harness: real binaries, a real PostgreSQL, the real CloudWatch Logs wire protocol.
//!
//! It knows the service by its contract only: nothing here uses the service's code. A test usually starts with
//! [`api::Api`]; underneath are the stand-ins, crates of their own with a README each ([`lambda`], [`cloudwatch`]), the
//! local stack ([`postgres`], [`tokens`]), and
//!
//! - [`database`]: a database of its own for each test;
//! - [`front`]: the service behind HTTP, for clients that are not Rust;
//! - [`openapi`]: what `docs/openapi.yaml` says, held against every answer;
//! - [`pgbouncer`]: a pooler before a server;
//! - [`network`]: networks that fail.

pub mod api;
pub mod audit_events;
pub mod counted;
pub mod database;
pub mod front;
mod full_disk;
pub mod network;
pub mod openapi;
pub mod pgbouncer;
pub mod yaml;

pub use cloudwatch_stand_in as cloudwatch;
pub use common::{Error, Result, background, clock, error, http, settings};
pub use lambda_stand_in as lambda;
pub use lambda_stand_in::gateway;
pub use local_stack::{function_variables, guard, scratch, tokens};
pub use network::{interceptor, proxy};

/// CloudWatch Logs as a client sees it.
pub mod logs {
    pub use cloudwatch_stand_in::logs_client::{ACCESS_KEY_ID, Logs, REGION, SECRET_ACCESS_KEY};
    pub use cloudwatch_stand_in::{LogGroup, Record};
}

/// PostgreSQL servers, and what can be done to them.
pub mod postgres {
    pub use local_stack::postgres::*;

    pub use crate::full_disk::FullDisk;
}
