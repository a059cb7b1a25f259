//! A page far back costs what the first one does.

use std::time::Duration;

use flag_schedules::app::ReadApp;
use harness::api::{ACROSS_FLAGS, Api, list_request};
use harness::gateway::Request;
use serde_json::Value;

use crate::inside;
use crate::series::in_turn;
use crate::table::Table;

const ROUNDS: usize = 200;

/// Follows the cursors to the last of so many pages of a hundred, then measures it and the first one in turn.
pub async fn measure(table: &mut Table, pages: usize) {
    let api = Api::start().await;
    api.flag("bench", "production").await;
    let sql = format!(
        "insert into feature_flag_schedules (flag_id, scheduled_at, updates, reason, created_by)
         select id, now() + n * interval '1 minute', '{{\"enabled\": true}}', 'first users', 'admin-1'
         from feature_flags, generate_series(1, {}) n",
        pages * 100
    );
    let client = api.database.connect().await;
    client.batch_execute(&sql).await.expect("the schedules");
    client.batch_execute("vacuum analyze").await.expect("statistics");
    let app = inside::reader(&api).await;

    for (what, list) in [
        (format!("list, page {pages} of a flag with {} schedules", pages * 100), List::OfFlag),
        (format!("list across flags, page {pages} of {} schedules", pages * 100), List::AcrossFlags),
    ] {
        let mut query = "limit=100".to_owned();
        for _ in 1..pages {
            let (page, _) = list.page(&api, &app, &query).await;
            assert_eq!(page["schedules"].as_array().map_or(0, Vec::len), 100, "a full page");
            let cursor = page["next_cursor"].as_str().expect("there is a next page").to_owned();
            query = format!("limit=100&cursor={cursor}");
        }
        let (last, first) = in_turn(
            ROUNDS,
            async || list.page(&api, &app, &query).await.1,
            async || list.page(&api, &app, "limit=100").await.1,
        )
        .await;
        table.compare(&what, &last, ("page 1", &first), Some(1.5));
    }
}

#[derive(Clone, Copy)]
enum List {
    OfFlag,
    AcrossFlags,
}

impl List {
    async fn page(self, api: &Api, app: &ReadApp, query: &str) -> (Value, Duration) {
        let request = match self {
            Self::OfFlag => list_request("bench", query),
            Self::AcrossFlags => Request::new("GET", ACROSS_FLAGS).query(query),
        };
        let request = request.bearer(&api.admin());
        let (reply, took) =
            inside::timed(&request, 200, async |request| list_schedules::handle(app, request).await).await;
        (serde_json::from_str(&reply.body).expect("a page is JSON"), took)
    }
}
