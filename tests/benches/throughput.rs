//! Creates per second from several instances at once, with delivery of their audit events, beside `pgbench` with as many
//! clients and the same statement, which delivers nothing: directly, and through a pooler.

use std::cell::Cell;
use std::time::{Duration, Instant};

use harness::api::Api;
use harness::cloudwatch::CloudWatch;
use harness::database::Database;
use harness::lambda::Function;
use harness::pgbouncer::PgBouncer;
use hyper::body::Bytes;
use tokio_postgres::Client;

use crate::inside;
use crate::instances::{self, INSTANCES};
use crate::pgbench::{Pgbench, Protocol};
use crate::series::{in_turn, median};
use crate::table::{Figure, Goal, Table};
use crate::warm::create_event;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const FLAG: &str = "bench";

/// Measures it with the server at hand.
pub async fn measure(table: &mut Table) {
    let database = Database::migrated().await;
    let url = database.url();
    let how = How { words: "", prepare: "on", protocol: Protocol::Extended, goal: Some(0.6) };
    compare(table, how, database, &url).await;
    let database = Database::migrated().await;
    let url = database.url();
    let how = How { words: " (named)", protocol: Protocol::Prepared, goal: None, ..how };
    compare(table, how, database, &url).await;
}

/// Measures it through PgBouncer in transaction mode, with a server connection for each instance.
pub async fn measure_pooled(table: &mut Table) {
    let database = Database::migrated().await;
    let pooler = PgBouncer::before(&database.url(), INSTANCES).await;
    let pooler = pooler.unwrap_or_else(|error| panic!("{error}"));
    let how =
        How { words: " through PgBouncer", prepare: "off", protocol: Protocol::Extended, goal: Some(0.5) };
    compare(table, how, database, &pooler.url()).await;
}

/// What is compared with what.
#[derive(Clone, Copy)]
struct How {
    words: &'static str,
    /// `DATABASE_PREPARE` of the service.
    prepare: &'static str,
    /// How pgbench sends the statement.
    protocol: Protocol,
    goal: Option<f64>,
}

async fn compare(table: &mut Table, how: How, database: Database, url: &str) {
    let cloudwatch = CloudWatch::start().await;
    let setup = Api::with().database(database).cloudwatch(&cloudwatch);
    let setup = setup.env_everywhere("DATABASE_URL", Some(url));
    let api = setup.env_everywhere("DATABASE_PREPARE", Some(how.prepare)).start().await;
    api.flag(FLAG, "production").await;
    let client = api.database.connect().await;
    inside::create(&api).await;
    let pgbench = Pgbench::creates(&api, FLAG).await;
    let functions = instances::start(&api).await;

    let (measured, floor) = in_turn(
        ROUNDS,
        async || {
            empty(&client).await;
            let event = Bytes::from(create_event(&api.admin()).event().to_string());
            creates(&functions, &event, &client).await
        },
        async || {
            empty(&client).await;
            let run = pgbench.run(url, how.protocol, INSTANCES, ROUND).await;
            assert_eq!(count(&client, "audit_outbox").await, run.done, "each has stored its event");
            run.each
        },
    )
    .await;
    cloudwatch.assert_all_legal();

    let what = format!("creates from {INSTANCES} instances{}, delivery included", how.words);
    let figure = |series: &[Duration]| Figure::throughput("creates", median(series));
    let floor = (
        figure(&floor),
        match how.protocol {
            Protocol::Extended => "the statement alone by pgbench",
            Protocol::Prepared => "the statement alone by pgbench, prepared",
        },
    );
    table.add(&what, figure(&measured), Some(floor), how.goal.map(Goal::AtLeastTimes));
}

/// Creates for a while: the time of the round by the number of creates.
async fn creates(functions: &[Function], event: &Bytes, client: &Client) -> Duration {
    let done = Cell::new(0);
    let begun = Instant::now();
    instances::create_until(begun + ROUND, functions, || event.clone(), |_| done.set(done.get() + 1)).await;
    let took = begun.elapsed();
    let stored = [count(client, "feature_flag_schedules").await, count(client, "audit_outbox").await];
    assert_eq!(stored, [i64::from(done.get()), 0], "each was stored, and its event delivered");
    took / done.get()
}

async fn empty(client: &Client) {
    client.batch_execute("truncate feature_flag_schedules, audit_outbox").await.expect("the owner may");
}

async fn count(client: &Client, table: &str) -> i64 {
    let sql = format!("select count(*) from {table}");
    client.query_one(&sql, &[]).await.expect("a count").get(0)
}
