//! The `create-schedule` function: builds what outlives a request, and serves.

use flag_schedules::app::App;
use flag_schedules::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    // An invalid setting stops the function here, before any request.
    lambda::serve(|| App::start("create-schedule"), create_schedule::handle).await
}
