//! The local stack: what `make run` and `make test` start beside the service itself.
//!
//! - `stack run` brings up everything the service needs, and the service, until Ctrl-C.
//! - `stack test -- COMMAND…` runs a command with a PostgreSQL server and a CloudWatch Logs emulator, and exits as it did.

mod events;
mod files;

mod interrupt;
mod remote;
mod run;
mod run_settings;
mod test;
mod watch;
mod welcome;

use std::io::Write;
use std::process::ExitCode;

/// Prints a line; a reader that has gone away is no reason to stop halfway.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn complain(error: &common::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "stack: {error}");
    ExitCode::FAILURE
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next().as_deref()) {
        (Some("run"), None) => run::run().await,
        (Some("test"), Some("--")) => test::test(&arguments.collect::<Vec<_>>()).await,
        _ => Err(common::Error::new("usage: stack run | stack test -- COMMAND...")),
    };
    result.unwrap_or_else(|error| complain(&error))
}
