//! The test harness: real binaries, a real PostgreSQL, the real CloudWatch Logs wire protocol.
//!
//! It knows the service by its contract only: nothing here uses the service's code. `make run` stands on it too
//! (`bin/stack`), which also starts the servers that the tests find through the variables in `settings`.
//!
//! A test usually starts with [`api::Api`]; underneath are
//!
//! - [`lambda`]: a function's binary, run as Lambda runs it;
//! - [`database`]: a database of its own for each test;
//! - [`logs`]: the CloudWatch Logs emulator and what arrived there;
//! - [`cloudwatch`]: CloudWatch Logs once more, strict and with faults on demand;
//! - [`tokens`] and [`gateway`]: who asks, and how API Gateway hands it over;
//! - [`front`]: the service behind HTTP, for clients that are not Rust;
//! - [`openapi`]: what `docs/openapi.yaml` says, held against every answer;
//! - [`postgres`]: a whole server, for tests that stop it;
//! - [`pgbouncer`]: a pooler before it;
//! - [`proxy`]: a network that fails;
//! - [`interceptor`]: a network that fails at a chosen statement;
//! - [`sam`]: the stack's settings for SAM CLI.

pub mod api;
pub mod audit_events;
pub mod background;
pub mod clock;
pub mod cloudwatch;
pub mod database;
pub mod error;
pub mod front;
pub mod gateway;
pub mod guard;
pub mod http;
pub mod interceptor;
pub mod lambda;
pub mod logs;
pub mod openapi;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod round_trips;
pub mod sam;
pub mod scratch;
pub mod settings;
pub mod tokens;
pub mod yaml;

pub use error::{Error, Result};
