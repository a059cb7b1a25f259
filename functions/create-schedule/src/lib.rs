//! `POST /api/admin/flags/{flagKey}/schedule`: an admin schedules a change of a flag.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::Reply;

/// Answers one request: 201 with the pending schedule.
///
/// # Errors
/// The problem that the caller is told.
pub async fn handle(app: &App, request: &Request) -> Result<Reply, Problem> {
    let caller = app.authenticate(request).await?;
    let (flag, schedule) = request.creation(app.now())?;
    let created = app.schedules.create(&caller, flag, schedule).await?;
    Ok(Reply::created(created)?)
}
