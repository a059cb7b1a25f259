//! The `migrate` function: reads the settings and serves. Unlike the others it also starts with invalid settings: then
//! it tells CloudFormation what is wrong with them.

use std::process::ExitCode;

use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::config::{check_encoding, environment, release};
use flag_schedules::lambda;
use flag_schedules::logging::{self, LogSettings};
use migrate::Migration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start(&LogSettings::read(&environment));
    let settings = check_encoding().and_then(|()| DatabaseSettings::read(&environment));
    let migration = Migration::new(settings, release(&environment));
    lambda::main(lambda::serve_events(async |event| migration.handle(event).await)).await
}
