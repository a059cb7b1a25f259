//! The `check-deployment` function: reads the region and the credentials, and serves.

use std::process::ExitCode;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use flag_schedules::config::environment;
use flag_schedules::lambda;
use flag_schedules::logging::{self, LogSettings};

/// For one attempt of a call of Lambda's API. An endpoint may take two starts of ten seconds, and answers in ten.
const CALL_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start(&LogSettings::read(&environment));
    let limits =
        TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).operation_attempt_timeout(CALL_LIMIT);
    let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(limits.build());
    let client = Client::new(&config.load().await);
    lambda::main(lambda::serve_events(async |event| check_deployment::handle(&client, event).await)).await
}
