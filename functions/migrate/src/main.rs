//! The `migrate` function: reads the settings, and serves.

use flag_schedules::config::{DatabaseSettings, LogSettings, environment};
use flag_schedules::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::start_logging(&LogSettings::read(&environment));
    let settings = DatabaseSettings::read(&environment)?; // a bad setting stops the function here
    lambda::serve_events(async |event| migrate::handle(&settings, event).await).await
}
