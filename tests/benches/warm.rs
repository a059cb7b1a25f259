//! Warm requests through the handlers, beside the same statements by a bare client; a list beside the same page as columns.

use std::time::{Duration, Instant};

use flag_schedules::app::{App, ReadApp};
use harness::api::{Api, cancel_request, create_request, list_request};
use harness::gateway::Request;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::inside;
use crate::series::{CHAPTERS, in_chapters};
use crate::statements::Bare;
use crate::table::Table;

/// In each chapter.
const ROUNDS: usize = 100;
const FLAG: &str = "bench";
const STATEMENT: &str = "the statement by a bare client";
const COLUMNS: &str = "the page as columns by a bare client";
/// Schedules on a page.
const PAGE: i64 = 50;

/// Measures create, list and cancel.
pub async fn measure(table: &mut Table) {
    let api = Api::start().await;
    api.flag(FLAG, "production").await;
    // As callers do: the same one until it expires.
    let token = api.admin();
    inside::create(&api).await;
    create(table, &api, "create", || token.clone()).await;
    create(table, &api, "create with a new token", || api.admin()).await;
    list(table, &api, &token).await;
    cancel(table, &api, &token).await;
}

/// A create as an admin would send it.
pub fn create_event(token: &str) -> Request {
    let at = harness::clock::now() + chrono::TimeDelta::hours(1);
    let body =
        json!({"scheduled_at": at.to_rfc3339(), "updates": {"enabled": true}, "reason": "first users"});
    create_request(FLAG, "", &body).bearer(token)
}

async fn create(table: &mut Table, api: &Api, what: &str, token: impl Fn() -> String) {
    let handler = async |app: &App| {
        let request = create_event(&token());
        inside::timed(&request, 201, async |request| create_schedule::handle(app, request).await).await.1
    };
    let floor = async |bare: &Bare| {
        let begun = Instant::now();
        let rows = bare.create(FLAG).await;
        let took = begun.elapsed();
        assert!(rows[0].get::<_, Option<Value>>("schedule").is_some(), "nothing was created");
        took
    };
    let open = async || inside::connected("create-schedule", api).await;
    compare(table, api, (what, open), handler, (STATEMENT, floor)).await;
}

async fn list(table: &mut Table, api: &Api, token: &str) {
    fresh_statistics(api).await;
    let handler = async |app: &ReadApp| {
        let request = list_request(FLAG, "").bearer(token);
        inside::timed(&request, 200, async |request| list_schedules::handle(app, request).await).await.1
    };
    let floor = async |bare: &Bare| {
        let begun = Instant::now();
        let rows = bare.list(FLAG, PAGE).await;
        let took = begun.elapsed();
        assert_eq!(i64::try_from(rows).ok(), Some(PAGE + 1), "a full page, and one more");
        took
    };
    let open = async || inside::reader(api).await;
    compare(table, api, ("list of 50", open), handler, (COLUMNS, floor)).await;
}

async fn cancel(table: &mut Table, api: &Api, token: &str) {
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by)
               select id, now() + n * interval '1 minute', '{\"enabled\": true}', 'admin-1'
               from feature_flags, generate_series(1, $1::integer) n returning id";
    let client = api.database.connect().await;
    let count = i32::try_from(CHAPTERS * 2 * (ROUNDS + 1)).expect("a few thousand");
    let rows = client.query(sql, &[&count]).await.expect("pending schedules");
    fresh_statistics(api).await;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let (for_the_handler, for_the_floor) = ids.split_at(ids.len() / 2);
    let (mut for_the_handler, mut for_the_floor) = (for_the_handler.iter(), for_the_floor.iter());

    let handler = async |app: &App| {
        let id = for_the_handler.next().expect("one for each round").to_string();
        let request = cancel_request(FLAG, &id, "reason=not%20yet").bearer(token);
        inside::timed(&request, 200, async |request| cancel_schedule::handle(app, request).await).await.1
    };
    let floor = async |bare: &Bare| {
        let id = *for_the_floor.next().expect("one for each round");
        let begun = Instant::now();
        let rows = bare.cancel(FLAG, id).await;
        let took = begun.elapsed();
        assert!(rows[0].get::<_, Option<Value>>("cancelled").is_some(), "nothing was cancelled");
        took
    };
    let open = async || inside::connected("cancel-schedule", api).await;
    compare(table, api, ("cancel", open), handler, (STATEMENT, floor)).await;
}

/// Otherwise it were chance whether the server has taken note of the new rows, and how it goes about the statement.
async fn fresh_statistics(api: &Api) {
    api.database.connect().await.batch_execute("vacuum analyze").await.expect("statistics");
}

async fn compare<A>(
    table: &mut Table,
    api: &Api,
    (what, open): (&str, impl AsyncFn() -> A),
    handler: impl AsyncFnMut(&A) -> Duration,
    (name, floor): (&str, impl AsyncFnMut(&Bare) -> Duration),
) {
    let open = (open, async || Bare::connect(api).await);
    let (measured, floor) = in_chapters(ROUNDS, open, handler, floor).await;
    table.compare(&format!("warm {what}, p50"), &measured, (name, &floor), Some(1.3));
    table.compare_tails(&format!("warm {what}, p99"), &measured, (name, &floor));
}
