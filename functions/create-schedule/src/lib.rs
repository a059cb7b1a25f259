//! `POST /api/admin/flags/{flagKey}/schedule`: an admin schedules a change of a flag.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{Reply, ScheduleView};
use flag_schedules::service::Creating;

/// Answers one request: 201 with the pending schedule, or 200 with the one that an earlier request with the same
/// `Idempotency-Key` has created, as it now stands.
///
/// # Errors
/// The problem that the caller is told.
pub async fn handle(app: &App, request: &Request) -> Result<Reply, Problem> {
    let caller = app.authenticate(request).await?;
    let (flag, schedule, key) = request.creation(app.now())?;
    Ok(match app.schedules.create(&caller, flag, schedule, key).await? {
        Creating::Created(schedule) => Reply::created(schedule)?,
        Creating::Replayed(schedule) => Reply::ok(&ScheduleView::from(schedule))?,
    })
}
