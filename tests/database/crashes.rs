//! A whole server that crashes in the middle of work and comes back: what was committed is there, nothing else is, and
//! the functions go on without a restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use harness::api::{Api, create_request, tick_event};
use harness::cloudwatch::CloudWatch;
use harness::database::Database;
use harness::gateway::Response;
use harness::lambda::{Env, Function, Launch};
use harness::postgres::{Options, Server, Stop};
use serde_json::Value;

use crate::processor::crowd::{assert_done_in_order, assert_untouched, count, fill};
use crate::processor::held::Held;
use crate::support::{LIMIT, text, turn_on};

/// A server of the test's own, and the service on it.
async fn start(cloudwatch: &CloudWatch) -> (Server, Api) {
    let options = Options { careless: true, ..Options::default() };
    let server = Server::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let database = Database::empty_on(&server).await;
    let env = Env::new().set("DATABASE_URL", database.url());
    let migrate = Launch::of("migrate").env(env).timeout(LIMIT).start().await.unwrap();
    migrate.invoke(&Value::Null).await.value();
    let api = Api::with().cloudwatch(cloudwatch).database(database).start().await;
    (server, api)
}

#[tokio::test]
async fn a_server_that_crashes_in_the_middle_of_a_batch_costs_the_tick_and_the_next_one_does_all() {
    let cloudwatch = CloudWatch::start().await;
    let (mut server, api) = start(&cloudwatch).await;
    api.tick().await.value();
    fill(&api.database.connect().await, 20, 5).await;
    let processor = api.function("schedule-processor").await;
    let process = processor.pid();
    let held = Held::after(&api.database, 50).await;

    let crash = async {
        held.up().await;
        server.stop(Stop::Immediate).await;
    };
    let tick = tick_event();
    let (interrupted, ()) = tokio::join!(processor.invoke(&tick), crash);
    let down = api.tick().await;
    server.start_again().await.unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(interrupted.error().error_type, "DatabaseUnavailable");
    assert_eq!(down.error().error_type, "DatabaseUnavailable");
    assert_untouched(&api.database.connect().await).await;
    let next = api.tick().await.value();
    assert_eq!(next["applied"], 100, "{next:#}");
    assert_eq!(processor.pid(), process, "without a restart of the function");
    assert_done_in_order(&api, &[]).await;
}

/// Creates one schedule after the other, each with a key of its own, until the server is gone; gives the keys and what
/// came of each.
async fn burst(
    name: usize,
    function: &Function,
    token: &str,
    body: &Value,
    stored: &AtomicUsize,
) -> BTreeMap<String, Response> {
    let mut answers = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline, "the server is still there");
        let key = format!("{name}-{}", answers.len());
        let answer = send(function, &key, token, body).await;
        let status = answer.status;
        answers.insert(key, answer);
        match status {
            201 => stored.fetch_add(1, Ordering::Relaxed),
            _ => return answers,
        };
    }
}

async fn send(function: &Function, key: &str, token: &str, body: &Value) -> Response {
    let request = create_request("a", "", body).bearer(token).header("idempotency-key", key);
    Response::of(function.invoke(&request.event()).await)
}

#[tokio::test]
async fn a_server_that_crashes_in_a_burst_of_creates_loses_none_that_was_answered_with_201() {
    let cloudwatch = CloudWatch::start().await;
    let (mut server, api) = start(&cloudwatch).await;
    api.flag("a", "production").await;
    let (token, body) = (api.admin(), turn_on());
    let mut functions = Vec::new();
    for _ in 0..4 {
        functions.push(api.another("create-schedule").await);
    }

    let stored = AtomicUsize::new(0);
    let bursts = functions.iter().enumerate();
    let bursts = join_all(bursts.map(|(name, function)| burst(name, function, &token, &body, &stored)));
    let crash = async {
        while stored.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        server.stop(Stop::Immediate).await;
    };
    let (answers, ()) = tokio::join!(bursts, crash);
    server.start_again().await.unwrap_or_else(|error| panic!("{error}"));

    let mut created = BTreeMap::new();
    for (function, answers) in functions.iter().zip(&answers) {
        for (key, first) in answers {
            let again = send(function, key, &token, &body).await;
            match first.status {
                201 => {
                    assert_eq!(again.status, 200, "{key}: {again:?}");
                    assert_eq!(again.json["id"], first.json["id"], "{key} had been answered with 201");
                }
                503 => {
                    assert!(first.header("retry-after").is_some(), "{key}: {first:?}");
                    assert!([200, 201].contains(&again.status), "{key}: {again:?}");
                }
                _ => panic!("{key}: {first:?}"),
            }
            created.insert(text(&again.json, "id").to_owned(), key.clone());
        }
        function.settled(LIMIT).await;
    }
    let client = api.database.connect().await;
    let keys: usize = answers.iter().map(BTreeMap::len).sum();
    assert_eq!(created.len(), keys, "each key has a schedule of its own");
    assert_eq!(
        count(&client, "select count(*) from feature_flag_schedules").await,
        i64::try_from(keys).unwrap()
    );
    let sql = "update audit_outbox set written_at = written_at - interval '1 minute'";
    client.execute(sql, &[]).await.unwrap();
    api.tick().await.value();
    // What was delivered while the server went down is delivered once more, with the same id.
    let mut events: BTreeMap<String, String> = BTreeMap::new();
    for event in api.events().await {
        let schedule = text(&event, "schedule_id").to_owned();
        let id = text(&event, "event_id").to_owned();
        let earlier = events.insert(schedule, id.clone());
        assert!(earlier.is_none_or(|earlier| earlier == id), "another event of one create: {event:#}");
    }
    assert_eq!(
        events.keys().collect::<Vec<_>>(),
        created.keys().collect::<Vec<_>>(),
        "the creates that have an event"
    );
}
