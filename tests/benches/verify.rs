//! A verification of a day with a million transitions, beside a bare reader of both sides that compares nothing; and its
//! memory. CloudWatch Logs is played by a server that makes events up, for a million do not fit beside everything else; it
//! answers at once, whereas an account may make a few calls a second.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::TryStreamExt;
use harness::api::Api;
use harness::background;
use harness::lambda::Launch;
use harness::logs::Logs;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::table::{Figure, Goal, Table};

/// What one invocation may use at most.
const MAX_MEMORY_BYTES: u64 = 128 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(900);
/// From one schedule to the next.
const STEP_MS: i64 = 150;
/// From its creation to its application.
const LASTED_MS: i64 = 3_600_000;
/// `FilterLogEvents` returns this much at most.
const PAGE_BYTES: usize = 1_048_576;

/// The same schedules as `event` tells of.
const FILL: &str = "
    insert into feature_flags (flag_key) select 'flag-' || n from generate_series(0, 999) n;
    insert into feature_flag_schedules
        (id, flag_id, scheduled_at, status, updates, reason, created_at, created_by, applied_at)
    select
        ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, f.id, $start + (n * 150 + 3600000) * interval '1 ms',
        'applied', '{\"enabled\": true, \"rollout_percentage\": 25}', 'first users', $start + n * 150 * interval '1 ms',
        'admin-1', $start + (n * 150 + 3600000) * interval '1 ms'
    from generate_series(0, $count - 1) n
    join feature_flags f on f.flag_key = 'flag-' || n % 1000;";

#[derive(Clone, Copy)]
struct Trail {
    start: DateTime<Utc>,
    count: i64,
}

impl Trail {
    fn time(&self, after_ms: i64) -> String {
        (self.start + TimeDelta::milliseconds(after_ms)).to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// As the service renders it.
    fn event(&self, n: i64, is_created: bool) -> String {
        let (created, applied) = (self.time(n * STEP_MS), self.time(n * STEP_MS + LASTED_MS));
        let (kind, at) = if is_created { ("created", &created) } else { ("applied", &applied) };
        let (actor, end, request) = if is_created {
            (
                r#"{"type":"admin","user_id":"admin-1","email":"ana@example.com"}"#,
                String::new(),
                r#"{"request_id":"Zb1XhiJcliAEPtg=","source_ip":"203.0.113.17","user_agent":"curl/8.11.1"}"#,
            )
        } else {
            let change = r#""change":{"before":{"enabled":false,"rollout_percentage":0},"after":{"enabled":true,"rollout_percentage":25}}"#;
            (
                r#"{"type":"system","name":"schedule-processor"}"#,
                format!(r#"{change},"lateness_ms":0,"#),
                r#"{"request_id":"5f3c2c64-0f0b-4c2e-8a67-9e0b7d1f4a35"}"#,
            )
        };
        let version = flag_schedules::domain::audit_event::SCHEMA_VERSION;
        format!(
            r#"{{"schema_version":{version},"event_id":"01900000-0001-7{}00-8000-{n:012x}","event_type":"flag_schedule.{kind}","level":"INFO","occurred_at":"{at}","schedule_id":"01900000-0000-7000-8000-{n:012x}","flag_key":"flag-{}","environment":"production","actor":{actor},"schedule":{{"scheduled_at":"{applied}","apply_by":null,"updates":{{"enabled":true,"rollout_percentage":25}},"expect":null,"reason":"first users","created_by":"admin-1","created_at":"{created}"}},{end}"request":{request}}}"#,
            u8::from(is_created),
            n % 1000,
        )
    }

    /// The schedules with a transition in a range, inclusive, that happened so long after the creation of the first.
    fn between(&self, first: i64, last: i64, offset: i64) -> std::ops::Range<i64> {
        let start = self.start.timestamp_millis() + offset;
        let from = (first - start + STEP_MS - 1).div_euclid(STEP_MS).clamp(0, self.count);
        let to = ((last - start).div_euclid(STEP_MS) + 1).clamp(from, self.count);
        from..to
    }

    fn page(&self, asked: &Value) -> Value {
        let first = asked["startTime"].as_i64().unwrap_or(0);
        let last = asked["endTime"].as_i64().unwrap_or(i64::MAX / 2);
        let created = self.between(first, last, 0);
        let applied = self.between(first, last, LASTED_MS);
        let skip = asked["nextToken"].as_str().and_then(|token| token.parse().ok()).unwrap_or(0_i64);
        let skipped = skip.min(created.end - created.start);
        let created = created.start + skipped..created.end;
        let applied = (applied.start + skip - skipped).min(applied.end)..applied.end;
        let all = created.map(|n| (n, true)).chain(applied.map(|n| (n, false)));
        let limit = asked["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10_000);
        let (mut bytes, mut events, mut more) = (0, Vec::new(), false);
        for (n, is_created) in all {
            let message = self.event(n, is_created);
            if events.len() == limit || bytes + message.len() > PAGE_BYTES {
                more = true;
                break;
            }
            bytes += message.len();
            events.push(json!({"message": message, "logStreamName": "create-schedule", "timestamp": first}));
        }
        let next = skip + i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut page = json!({ "events": events });
        if more {
            page["nextToken"] = json!(next.to_string());
        }
        page
    }

    /// Serves it; gives the address.
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it listens");
        background::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(move |request: Request<Incoming>| async move {
                    let body =
                        request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
                    let mut response = Response::new(Full::new(Bytes::from(self.page(&asked).to_string())));
                    let json = hyper::header::HeaderValue::from_static("application/x-amz-json-1.1");
                    response.headers_mut().insert("content-type", json);
                    Ok::<_, Infallible>(response)
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        format!("http://{address}")
    }
}

/// Twice as many transitions as schedules.
pub async fn measure(table: &mut Table, count: i64) {
    let api = Api::start().await;
    let now = harness::clock::now();
    // The last application is an hour ago.
    let start = now - TimeDelta::milliseconds(count * STEP_MS + LASTED_MS * 2);
    let start = DateTime::from_timestamp_millis(start.timestamp_millis()).expect("a time of today");
    let trail = Trail { start, count };
    let client = api.database.connect().await;
    let literal = format!("timestamptz '{}'", trail.time(0));
    let fill = FILL.replace("$start", &literal).replace("$count", &count.to_string());
    client.batch_execute(&fill).await.expect("the rows");
    client.batch_execute("vacuum analyze").await.expect("a vacuum");
    let endpoint = trail.serve().await;
    let (from, to) = (trail.time(0), now.to_rfc3339_opts(SecondsFormat::Millis, true));

    let started = Instant::now();
    let mut token = Value::Null;
    let logs = Logs::at(&endpoint);
    let mut pages = 0;
    loop {
        let mut body = json!({
            "logGroupName": "audit", "startTime": start.timestamp_millis(), "endTime": now.timestamp_millis(), "limit": 2000,
        });
        if !token.is_null() {
            body["nextToken"] = token;
        }
        let mut page = logs.call("FilterLogEvents", body).await.expect("a page");
        pages += 1;
        token = page["nextToken"].take();
        if token.is_null() {
            break;
        }
    }
    let sql = "select flag_schedule_document(s, f.flag_key, f.environment) from feature_flag_schedules s
               join feature_flags f on f.id = s.flag_id";
    for _ in 0..2 {
        let nothing: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
        let mut rows = std::pin::pin!(client.query_raw(sql, nothing).await.expect("rows"));
        while rows.try_next().await.expect("a row").is_some() {}
    }
    let floor = started.elapsed();

    let launch = Launch::of("verify-trail")
        .env(api.env("verify-trail").set("AWS_ENDPOINT_URL", endpoint))
        .timeout(TIMEOUT)
        .freeze(false);
    let verifier = launch.start().await.expect("the verifier");
    let started = Instant::now();
    let result = verifier.invoke(&json!({"from": from, "to": to})).await.value();
    let took = started.elapsed();

    let expected = count * 2;
    assert_eq!(result["complete"], true, "{result:#}");
    assert_eq!((&result["checked"], &result["events"]), (&json!(expected), &json!(expected)), "{result:#}");
    for list in ["missing", "unknown", "different"] {
        assert_eq!(result[list], json!([]), "{result:#}");
    }
    let expected = usize::try_from(expected).expect("a count");
    table.add(
        &format!("verification of {expected} transitions, {pages} pages"),
        Figure::rate(expected, "transitions", took),
        Some((Figure::rate(expected, "transitions", floor), "a bare reader")),
        None,
    );
    let peak = Figure::size(verifier.peak_memory_kib().unwrap_or_default() * 1024);
    let what = format!("memory of verify-trail at most, {expected} transitions");
    table.add(&what, peak, None, Some(Goal::AtMost(Figure::size(MAX_MEMORY_BYTES))));
}
