//! `POST /api/admin/flags/{flagKey}/schedule`: an admin schedules a change of a flag.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{Reply, ScheduleView};
use flag_schedules::service::Created;

/// Responds with 201 and the pending schedule, or with 200 and the schedule that an earlier request with the same
/// `Idempotency-Key` created, in its current state.
pub async fn handle(app: &App, request: &Request) -> Result<Reply, Problem> {
    let caller = app.authenticate(request).await?;
    let schedule = request.new_schedule(app.now())?;
    Ok(match app.schedules.create(&caller, &schedule).await? {
        Created::New(schedule) => Reply::created(schedule)?,
        Created::Replayed(schedule) => Reply::ok(&ScheduleView::from(schedule))?,
    })
}
