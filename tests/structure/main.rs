//! The structure of the code: which module may depend on which, sizes and comments, SQL and its plans.
//!
//! A test binary without the service's code, quick to build: `cargo test --profile local -p flag-schedules-tests --test
//! structure`. Only `plans` and `sql_files` need the servers of `make test`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arrows;
mod cycles;
mod habits;
mod paths;
mod plans;
mod source;
mod sql_files;
