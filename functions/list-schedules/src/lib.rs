//! The reads: a flag's schedules, one schedule, schedules across flags.

use flag_schedules::app::ReadApp;
use flag_schedules::http::cursor::Scope;
use flag_schedules::http::problem::Problem;
use flag_schedules::http::request::{Reading, Request};
use flag_schedules::http::views::{PageView, Reply, ScheduleView};
use flag_schedules::service;

/// Responds with 200 and a page or a schedule. Reads are not audited.
pub async fn handle(app: &ReadApp, request: &Request) -> Result<Reply, Problem> {
    app.authenticate(request).await?;
    let store = &*app.schedules;
    Ok(match request.reading()? {
        Reading::OneSchedule(flag, id) => {
            Reply::ok(&ScheduleView::from(service::find(store, &flag, id).await?))?
        }
        Reading::OfFlag(flag, query) => {
            let page = service::list(store, &flag, &query).await?;
            Reply::ok(&PageView::new(&Scope::of_flag(&flag, query.status), page))?
        }
        Reading::AcrossFlags(query) => {
            let page = service::list_across_flags(store, &query).await?;
            Reply::ok(&PageView::new(&Scope::across_flags(&query), page))?
        }
    })
}
