//! Audit events that stayed behind, on their way to CloudWatch Logs: the processor's sweep, beside the same bytes sent by
//! a bare HTTP client in batches as large as can be, their rows read by one statement and deleted by another.

use std::time::{Duration, Instant};

use harness::api::{Api, tick_event};
use harness::cloudwatch::{CloudWatch, Stored};
use harness::http::send;
use harness::lambda::{Function, Launch};
use hyper::Method;
use hyper::body::Bytes;
use serde_json::json;
use tokio_postgres::Client;

use crate::inside;
use crate::series::{in_turn, median};
use crate::table::{Figure, Goal, Table};

const EVENTS: usize = 20_000;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);
/// What `PutLogEvents` takes at once.
const MAX_EVENTS: usize = 10_000;
const MAX_BYTES: usize = 1_048_576;
const EVENT_OVERHEAD: usize = 26;

/// Of a call by hand.
pub const PUT_HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-amz-json-1.1"),
    ("x-amz-target", "Logs_20140328.PutLogEvents"),
    // The stand-in wants a signature, and does not check it.
    ("authorization", "AWS4-HMAC-SHA256 Credential=bench"),
];

/// Measures both, in turn.
pub async fn measure(table: &mut Table) {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    api.flag("bench", "production").await;
    let client = api.database.connect().await;
    remember_an_event(&api, &client).await;
    let launch = Launch::of("schedule-processor").env(api.env("schedule-processor")).timeout(LIMIT);
    let processor = launch.start().await.unwrap_or_else(|error| panic!("{error}"));

    sweep(&client, &processor).await;
    let bodies = bodies(&api, &cloudwatch.stored());
    let endpoint = cloudwatch.endpoint();
    let (measured, floor) = in_turn(
        ROUNDS,
        async || sweep(&client, &processor).await,
        async || by_hand(&client, &endpoint, &bodies).await,
    )
    .await;
    cloudwatch.assert_all_legal();

    let what = format!("audit backlog of {EVENTS} events, swept by ticks");
    let rate = |series: &[Duration]| Figure::rate(EVENTS, "events", median(series));
    table.add(
        &what,
        rate(&measured),
        Some((rate(&floor), "the same bytes by a bare client")),
        Some(Goal::Times(1.5)),
    );
}

/// An event as the service writes it, to be multiplied.
async fn remember_an_event(api: &Api, client: &Client) {
    inside::create(api).await;
    let sql = "create table remembered as select event_type, context, schedule from audit_outbox";
    client.batch_execute(sql).await.expect("a table");
}

async fn fill(client: &Client) {
    let sql = format!(
        "truncate audit_outbox;
         insert into audit_outbox (event_id, event_type, context, schedule, written_at)
         select overlay(gen_random_uuid()::text placing '7' from 15 for 1)::uuid, event_type, context, schedule,
             now() - interval '1 hour' + n * interval '1 millisecond'
         from remembered, generate_series(1, {EVENTS}) n"
    );
    client.batch_execute(&sql).await.expect("the events");
    client.batch_execute("vacuum analyze audit_outbox").await.expect("a vacuum");
}

async fn sweep(client: &Client, processor: &Function) -> Duration {
    fill(client).await;
    let (mut took, mut delivered) = (Duration::ZERO, 0);
    while delivered < EVENTS {
        let tick = processor.invoke(&tick_event()).await;
        took += tick.response_after;
        let report = tick.value();
        let some = report["audit_delivered"].as_u64().and_then(|some| usize::try_from(some).ok());
        delivered +=
            some.filter(|some| *some > 0).unwrap_or_else(|| panic!("nothing was delivered: {report:#}"));
    }
    took
}

async fn by_hand(client: &Client, endpoint: &str, bodies: &[Bytes]) -> Duration {
    fill(client).await;
    let begun = Instant::now();
    let sql =
        "select event_id, event_type, context, schedule from audit_outbox order by written_at, event_id";
    let rows = client.query_typed(sql, &[]).await.expect("the events");
    for body in bodies {
        let answer = send(Method::POST, endpoint, &PUT_HEADERS, body.clone(), LIMIT).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    let deleted = client.execute("delete from audit_outbox", &[]).await.expect("a delete");
    let took = begun.elapsed();
    assert_eq!((rows.len(), deleted), (EVENTS, EVENTS as u64));
    took
}

/// What was stored, as the fewest calls that may carry it.
fn bodies(api: &Api, stored: &[Stored]) -> Vec<Bytes> {
    let mut batches: Vec<Vec<&Stored>> = Vec::new();
    let mut bytes = 0;
    for event in stored {
        let weight = event.message.len() + EVENT_OVERHEAD;
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_EVENTS && bytes + weight <= MAX_BYTES => {
                bytes += weight;
                batch.push(event);
            }
            _ => {
                bytes = weight;
                batches.push(vec![event]);
            }
        }
    }
    let body = |batch: &Vec<&Stored>| {
        let events =
            batch.iter().map(|event| json!({"timestamp": event.timestamp, "message": &*event.message}));
        let events: Vec<_> = events.collect();
        let group = api.group.name();
        let body = json!({"logGroupName": group, "logStreamName": "schedule-processor", "logEvents": events});
        Bytes::from(body.to_string())
    };
    batches.iter().map(body).collect()
}
