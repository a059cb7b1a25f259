//! What a create costs after its answer, too: how long its environment is taken, and what the database server does for it until
//! its event is delivered. The second figure may be compared with functions of an older release.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::api::Api;
use harness::cloudwatch::CloudWatch;
use harness::database::Database;
use harness::http::send;
use harness::lambda::{Function, Launch};
use harness::settings;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::json;

use crate::flush::PUT_HEADERS;
use crate::instances::{LIMIT, create, create_schedule};
use crate::series::{in_turn, median};
use crate::server_cpu::Server;
use crate::table::{Figure, Table};
use crate::warm::create_event;

const FLAG: &str = "bench";
/// Creates whose environments are watched.
const WATCHED: usize = 500;
/// Creates whose work on the server is measured are made in rounds.
const ROUNDS: usize = 4;
const IN_A_ROUND: u32 = 500;
/// Names a folder with `create-schedule` and `migrate` of an older release.
const BASELINE: &str = "BASELINE";

/// Measures both.
pub async fn measure(table: &mut Table) {
    environment(table).await;
    server(table).await;
}

async fn environment(table: &mut Table) {
    let service = Service::start(None).await;
    let (mut answered, mut free, mut least) = (Vec::new(), Vec::new(), Vec::new());
    // The first half warms up.
    for create in 0..2 * WATCHED {
        let (response_after, done_after) = service.create().await;
        let put = service.put_by_hand().await;
        if create >= WATCHED {
            answered.push(response_after);
            free.push(done_after);
            least.push(response_after + put);
        }
    }
    let what = "create, until the environment is free again, delivery included";
    table.compare(what, &free, ("until its answer", &answered), Some(1.4));
    let what = "the same, with the time of CloudWatch Logs in the floor";
    table.compare(
        what,
        &free,
        ("until its answer, and the same PutLogEvents by a bare client", &least),
        Some(1.4),
    );
}

async fn server(table: &mut Table) {
    let service = Service::start(None).await;
    let Some(server) = Server::of(&service.api.database).await else {
        eprintln!("only Linux tells what the server takes of the processors");
        return;
    };
    let what = "PostgreSQL's CPU for a create, delivery included";
    let Some(baseline) = settings::get(BASELINE).map(PathBuf::from) else {
        service.cpu(&server).await;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(service.cpu(&server).await);
        }
        table.add(what, Figure::time(median(&rounds)), None, None);
        return;
    };
    let older = Service::start(Some(&baseline)).await;
    let (cpu, of_older) =
        in_turn(ROUNDS, async || service.cpu(&server).await, async || older.cpu(&server).await).await;
    table.compare(what, &cpu, ("the baseline", &of_older), Some(0.5));
}

/// One environment, with a database and a CloudWatch Logs of its own.
struct Service {
    api: Api,
    cloudwatch: CloudWatch,
    function: Function,
    event: Bytes,
}

impl Service {
    /// The functions under test, or those in a folder with the schema that they have made.
    async fn start(folder: Option<&Path>) -> Self {
        let cloudwatch = CloudWatch::start().await;
        let database = match folder {
            Some(_) => Database::empty().await,
            None => Database::migrated().await,
        };
        let api = Api::with().database(database).cloudwatch(&cloudwatch).start().await;
        let function = match folder {
            Some(folder) => {
                migrate(&api, folder.join("migrate")).await;
                let launch = Launch::of("create-schedule").program(folder.join("create-schedule"), &[]);
                let launch = launch.env(api.env("create-schedule")).freeze(false).start().await;
                launch.unwrap_or_else(|error| panic!("{error}"))
            }
            None => create_schedule(&api).await,
        };
        api.flag(FLAG, "production").await;
        let event = Bytes::from(create_event(&api.admin()).event().to_string());
        Self { api, cloudwatch, function, event }
    }

    async fn create(&self) -> (Duration, Duration) {
        create(&self.function, self.event.clone()).await
    }

    /// How long the stand-in takes to accept an event from a client that does nothing else.
    async fn put_by_hand(&self) -> Duration {
        let stored = self.cloudwatch.stored();
        let last = stored.last().expect("an event was delivered");
        let events = [json!({"timestamp": last.timestamp, "message": &*last.message})];
        let group = self.api.group.name();
        let body = json!({"logGroupName": group, "logStreamName": "create-schedule", "logEvents": events})
            .to_string();
        let begun = Instant::now();
        let answer = send(Method::POST, &self.cloudwatch.endpoint(), &PUT_HEADERS, body, LIMIT).await;
        let took = begun.elapsed();
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        assert!(answer.status.is_success(), "{}", answer.text());
        took
    }

    /// What the server takes for a create, as the mean of a round that begins with empty tables.
    async fn cpu(&self, server: &Server) -> Duration {
        let client = self.api.database.connect().await;
        client.batch_execute("truncate feature_flag_schedules, audit_outbox").await.expect("the owner may");
        client.batch_execute("vacuum analyze").await.expect("a vacuum");
        let before = server.cpu();
        for _ in 0..IN_A_ROUND {
            self.create().await;
        }
        let after = server.cpu();
        let sql = "select count(*) from audit_outbox";
        let left: i64 = client.query_one(sql, &[]).await.expect("a count").get(0);
        assert_eq!(left, 0, "all events are delivered");
        (after - before) / IN_A_ROUND
    }
}

async fn migrate(api: &Api, program: PathBuf) {
    let launch = Launch::of("migrate").program(program, &[]).env(api.env("migrate"));
    let migrate = launch.timeout(Duration::from_secs(60)).start().await;
    migrate.unwrap_or_else(|error| panic!("{error}")).invoke(&json!({})).await.value();
}
