//! The `check-deployment` function: reads the region and the credentials, and serves.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_sdk_lambda::Client;
use flag_schedules::config::environment;
use flag_schedules::lambda;
use flag_schedules::logging::{self, LogSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start(&LogSettings::read(&environment));
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    lambda::main(lambda::serve_events(async |event| check_deployment::handle(&client, event).await)).await
}
