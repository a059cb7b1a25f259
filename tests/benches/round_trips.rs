//! Round trips to the database before the answer, counted on the wire.
//!
//! What is counted: how often the client has sent all that it had to say and waits for the server. See `harness::proxy`.
//! Delivery is refused (its extension may not register), so that nothing is counted but the request.

use harness::api::{Api, cancel_request, create_request, list_request};
use harness::database::Database;
use harness::gateway::Request;
use harness::lambda::Launch;
use harness::proxy::Proxy;
use serde_json::json;

use crate::table::{Figure, Goal, Table};

/// Counts for create, list and cancel: cold, then warm.
pub async fn measure(table: &mut Table) {
    let database = Database::migrated().await;
    let (proxy, url) = database.behind_proxy().await;
    let undelivered = |launch: Launch| launch.refuse_extensions(500);
    let setup = Api::with().database(database).env_everywhere("DATABASE_URL", Some(&url));
    let setup = setup.launch("create-schedule", undelivered).launch("cancel-schedule", undelivered);
    let api = setup.start().await;
    api.flag("bench", "production").await;

    let at = harness::clock::now() + chrono::TimeDelta::hours(1);
    let body = json!({"scheduled_at": at.to_rfc3339(), "updates": {"enabled": true}});
    let mut ids = Vec::new();
    let mut requests = Vec::new();
    for _ in 0..2 {
        let (answer, trips) = send(&api, &proxy, &create_request("bench", "", &body)).await;
        ids.push(answer["id"].as_str().expect("a schedule has an id").to_owned());
        requests.push(("create", trips));
    }
    for _ in 0..2 {
        requests.push(("list", send(&api, &proxy, &list_request("bench", "")).await.1));
    }
    for id in &ids {
        requests.push(("cancel", send(&api, &proxy, &cancel_request("bench", id, "")).await.1));
    }

    for pair in requests.chunks(2) {
        let [(what, cold), (_, warm)] = pair else { continue };
        let what = format!("round trips before the answer of a warm {what} (cold: {cold})");
        let floor = Some((Figure::count(1), "one statement"));
        table.add(&what, Figure::count(*warm), floor, Some(Goal::AtMost(Figure::count(1))));
    }
}

async fn send(api: &Api, proxy: &Proxy, request: &Request) -> (serde_json::Value, u64) {
    let before = proxy.flights();
    let answer = api.send(&request.clone().bearer(&api.admin())).await;
    let trips = proxy.flights() - before;
    assert!(answer.status < 300, "{answer:?}");
    (answer.json, trips)
}
