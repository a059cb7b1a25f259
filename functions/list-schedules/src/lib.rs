//! `GET /api/admin/flags/{flagKey}/schedule`: an admin reads one page of a flag's schedules.

use flag_schedules::app::App;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{PageView, Reply};

/// Answers one request: 200 with a page. Reads are not audited.
///
/// # Errors
/// The problem that the caller is told.
pub async fn handle(app: &App, request: &Request) -> Result<Reply, Problem> {
    app.authenticate(request).await?;
    let (flag, query) = request.page()?;
    let page = app.schedules.list(&flag, &query).await?;
    Ok(Reply::ok(&PageView::new(&flag, &query, page))?)
}
