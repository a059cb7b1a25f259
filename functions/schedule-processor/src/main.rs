//! The `schedule-processor` function: builds what outlives a tick, and serves.

use std::process::ExitCode;

use flag_schedules::app::ProcessorApp;
use flag_schedules::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::main(async {
        let app = ProcessorApp::start("schedule-processor")?; // an invalid setting stops the function here, before any tick
        lambda::serve_events(async |event| schedule_processor::handle(&app, event).await).await
    })
    .await
}
