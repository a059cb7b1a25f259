//! The ports: what the service, the processor and the verifier need from the outside world. Adapters implement them.
//!
//! A method is a whole step, so no transaction leaks out of a port. Absence is `Ok(None)`, never an empty answer that
//! hides a failure.

pub mod audit_log;
pub mod clock;
pub mod due;
pub mod key_server;
pub mod outbox;
pub mod schedules;
pub mod store_error;
pub mod trail_reader;
pub mod transitions;
