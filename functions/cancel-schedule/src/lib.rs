//! `DELETE /api/admin/flags/{flagKey}/schedule/{scheduleId}`: an admin takes a pending schedule back.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{Reply, ScheduleView};

/// Answers one request: 200 with the cancelled schedule, or 409 with the schedule as it now stands.
///
/// # Errors
/// The problem that the caller is told.
pub async fn handle(app: &App, request: &Request) -> Result<Reply, Problem> {
    let caller = app.authenticate(request).await?;
    let (flag, id, reason) = request.cancellation()?;
    let cancelled = app.schedules.cancel(&caller, flag, id, reason).await?;
    Ok(Reply::ok(&ScheduleView::from(cancelled))?)
}
