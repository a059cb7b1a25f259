//! The `migrate` function: reads the settings and serves.

use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::config::{check_encoding, environment};
use flag_schedules::lambda;
use flag_schedules::logging::{self, LogSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    logging::start(&LogSettings::read(&environment));
    check_encoding()?;
    let settings = DatabaseSettings::read(&environment)?; // invalid settings fail the startup
    lambda::serve_events(async |event| migrate::handle(&settings, event).await).await
}
