//! The `list-schedules` function: builds what outlives a request, and serves.

use std::process::ExitCode;

use flag_schedules::app::ReadApp;
use flag_schedules::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::main(async {
        let app = ReadApp::start()?; // an invalid setting stops the function here, before any request
        lambda::serve_reads(&app, list_schedules::handle).await
    })
    .await
}
