//! The `verify-trail` function: builds what outlives a verification, and serves.

use std::process::ExitCode;

use flag_schedules::app::VerifierApp;
use flag_schedules::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::main(async {
        let app = VerifierApp::start()?; // an invalid setting stops the function here, before any event
        lambda::serve_events(async |event| verify_trail::handle(&app, event).await).await
    })
    .await
}
