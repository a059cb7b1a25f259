//! `DELETE /api/admin/flags/{flagKey}/schedule/{scheduleId}`: an admin cancels a pending schedule.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{Reply, ScheduleView};

/// Responds with 200 and the cancelled schedule, or with 409 and the schedule in its current state.
pub async fn handle(app: &App, request: &Request) -> Result<Reply, Problem> {
    let caller = app.authenticate(request).await?;
    let cancelled = app.schedules.cancel(&caller, &request.cancellation()?).await?;
    Ok(Reply::ok(&ScheduleView::from(cancelled))?)
}
