//! `GET /api/admin/flags/{flagKey}/schedule`: an admin reads one page of a flag's schedules.

use flag_schedules::app::ReadApp;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::Request;
use flag_schedules::http::views::{PageView, Reply};
use flag_schedules::service;

/// Responds with 200 and a page. Reads are not audited.
pub async fn handle(app: &ReadApp, request: &Request) -> Result<Reply, Problem> {
    app.authenticate(request).await?;
    let (flag, query) = request.page()?;
    let page = service::list(&*app.schedules, &flag, &query).await?;
    Ok(Reply::ok(&PageView::new(&flag, &query, page))?)
}
