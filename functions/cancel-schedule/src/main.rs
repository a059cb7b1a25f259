//! The `cancel-schedule` function: builds what outlives a request, and serves.

use std::process::ExitCode;

use flag_schedules::app::App;
use flag_schedules::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // An invalid setting stops the function here, before any request.
    lambda::main(lambda::serve(|| App::start("cancel-schedule"), cancel_schedule::handle)).await
}
