//! Round trips to the database before the answer, counted on the wire: see `harness::counted`.

use harness::api::{cancel_request, create_request, list_request};
use harness::counted::Counted;
use harness::gateway::Request;
use serde_json::json;

use crate::table::{Figure, Goal, Table};

/// Counts for create, list and cancel: cold, then warm.
pub async fn measure(table: &mut Table) {
    let service = Counted::start("bench").await;

    let at = harness::clock::now() + chrono::TimeDelta::hours(1);
    let body = json!({"scheduled_at": at.to_rfc3339(), "updates": {"enabled": true}});
    let mut ids = Vec::new();
    let mut requests = Vec::new();
    for _ in 0..2 {
        let (answer, trips) = send(&service, create_request("bench", "", &body)).await;
        ids.push(answer["id"].as_str().expect("a schedule has an id").to_owned());
        requests.push(("create", trips));
    }
    for _ in 0..2 {
        requests.push(("list", send(&service, list_request("bench", "")).await.1));
    }
    for id in &ids {
        requests.push(("cancel", send(&service, cancel_request("bench", id, "")).await.1));
    }

    for pair in requests.chunks(2) {
        let [(what, cold), (_, warm)] = pair else { continue };
        let what = format!("round trips before the answer of a warm {what} (cold: {cold})");
        let floor = Some((Figure::count(1), "one statement"));
        table.add(&what, Figure::count(*warm), floor, Some(Goal::AtMost(Figure::count(1))));
    }
}

async fn send(service: &Counted, request: Request) -> (serde_json::Value, u64) {
    let (answer, trips) = service.send(request).await;
    assert!(answer.status < 300, "{answer:?}");
    (answer.json, trips)
}
