//! The integration tests: the real functions against a real PostgreSQL and the real CloudWatch Logs wire protocol.
//!
//! One binary, because each one links everything. One folder a subject, one file an aspect. Run by `make test`, which
//! starts the servers; one test alone by `make test T=<its name>`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adoption;
mod api;
mod audit;
mod clients;
mod database;
mod deploy;
mod faults;
mod fuzz;
mod http;
mod idempotency;
mod identity;
mod migrations;
mod model;
mod onboarding;
mod openapi;
mod processor;
mod retention;
mod roles;
mod seeds;
mod support;
mod tokens;
mod verify;
