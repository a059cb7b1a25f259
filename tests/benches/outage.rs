//! An outage of CloudWatch Logs costs no caller anything: creates with an endpoint that never answers, beside creates
//! with a healthy one.

use std::time::Duration;

use harness::api::{Api, checked, create_request};
use harness::lambda::Function;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::series::in_turn;
use crate::table::Table;

/// Creates on each side. With the endpoint that never answers, each invocation ends only after its delivery has given up.
const ROUNDS: usize = 25;
const LIMIT: Duration = Duration::from_secs(60);

/// Measures both.
pub async fn measure(table: &mut Table) {
    let api = Api::start().await;
    api.flag("bench", "production").await;
    // Connections are accepted by the kernel, and nobody ever reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let healthy = api.function("create-schedule").await;
    let env = api.env("create-schedule").set("AWS_ENDPOINT_URL", endpoint);
    let starved = checked("create-schedule").env(env).start().await.expect("the function");
    let at = harness::clock::now() + chrono::TimeDelta::hours(1);
    let body = json!({"scheduled_at": at.to_rfc3339(), "updates": {"enabled": true}});
    let event = create_request("bench", "", &body).bearer(&api.admin()).event();

    let (without, with) =
        in_turn(ROUNDS, async || create(&starved, &event).await, async || create(healthy, &event).await)
            .await;

    table.compare(
        "create, CloudWatch Logs never answers",
        &without,
        ("CloudWatch Logs healthy", &with),
        Some(1.1),
    );
}

async fn create(function: &Function, event: &Value) -> Duration {
    let invocation = function.invoke(event).await;
    let time = invocation.response_after;
    assert_eq!(invocation.value()["statusCode"], 201);
    function.settled(LIMIT).await;
    time
}
