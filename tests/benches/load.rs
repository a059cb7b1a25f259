//! Load: creates from several instances at full speed for `LOAD_MINUTES`, ticks that apply some of them and sweep, and no
//! CloudWatch Logs in the middle third. Nothing fails, nothing is lost, and the last third is like the first one.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use harness::api::{Api, create_request, tick_event};
use harness::cloudwatch::{CloudWatch, Fault};
use harness::lambda::{Function, Launch};
use harness::settings;
use hyper::body::Bytes;
use serde_json::json;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::arrivals::{Arrivals, Comparison};
use crate::histogram::Histogram;
use crate::instances;
use crate::load_rows::{self, Third};
use crate::table::Table;

/// How long creates are sent; twenty seconds by default.
const LOAD_MINUTES: &str = "LOAD_MINUTES";
const DEFAULT_MINUTES: f64 = 1.0 / 3.0;
const FLAGS: u32 = 100;
/// One create in so many becomes due soon, the others after an hour.
const SOON: u32 = 5;
const TICK: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(4);
/// The deployed processor's time limit.
const TIMEOUT: Duration = Duration::from_secs(90);
/// One after the other: at full speed, for a refusal is not repeated; with repeats, which keep an environment for two seconds;
/// and without an answer, for which it waits as long.
const OUTAGE: [Fault; 3] = [Fault::DENY, Fault::UNAVAILABLE, Fault::Silence];
/// How long ticks may take to drain the outbox.
const DRAIN: Duration = Duration::from_secs(600);

/// The sweep leaves younger rows to their writers, who are done here.
const AGE: &str = "update audit_outbox set written_at = written_at - interval '1 minute'
    where written_at > now() - interval '30 seconds'";
/// Events and changes that are still to come.
const LEFT: &str = "select (select count(*) from audit_outbox)
    + (select count(*) from feature_flag_schedules
       where status = 'pending' and scheduled_at < now() + interval '1 minute')";
const CREATED: &str = "select count(*), count(*) filter (where status not in ('pending', 'applied')) from feature_flag_schedules";

/// Measures the thirds, then drains and compares.
pub async fn measure(table: &mut Table) {
    let minutes = settings::get(LOAD_MINUTES).map_or(DEFAULT_MINUTES, |minutes| {
        minutes.parse().unwrap_or_else(|_| panic!("LOAD_MINUTES is {minutes}: it must be a number"))
    });
    let third = Duration::from_secs_f64(minutes * 60.0 / 3.0);
    let load = Load::start(third * 3).await;
    let warm_up = load.warm_up().await;

    let is_over = Cell::new(false);
    let thirds = async {
        let first = load.creates(&[(None, third)]).await;
        let outage = load.creates(&OUTAGE.map(|fault| (Some(fault), third / 3))).await;
        let last = load.creates(&[(None, third)]).await;
        is_over.set(true);
        [first, outage, last]
    };
    let ticks = async {
        while !is_over.get() {
            tokio::join!(load.tick(), sleep(TICK));
        }
    };
    let collecting = async {
        while !is_over.get() {
            load.arrivals.borrow_mut().take_from(&load.cloudwatch);
            sleep(Duration::from_millis(500)).await;
        }
    };
    let (thirds, (), ()) = tokio::join!(thirds, ticks, collecting);

    let created: u64 = thirds.iter().chain([&warm_up]).map(|third| third.latencies.count()).sum();
    let comparison = load.drain_and_compare(created).await;
    load_rows::add(table, third, &thirds, &comparison);
}

struct Load {
    /// Its database goes with it.
    _api: Api,
    cloudwatch: CloudWatch,
    functions: Vec<Function>,
    processor: Function,
    client: Client,
    token: String,
    sent: Cell<u32>,
    arrivals: RefCell<Arrivals>,
}

impl Load {
    async fn start(length: Duration) -> Self {
        let cloudwatch = CloudWatch::start().await;
        let api = Api::with().cloudwatch(&cloudwatch).start().await;
        let client = api.database.connect().await;
        let sql = "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(0, $1::int8 - 1) n";
        client.execute(sql, &[&i64::from(FLAGS)]).await.expect("the flags");
        let launch = Launch::of("schedule-processor").env(api.env("schedule-processor"));
        let processor = launch.timeout(TIMEOUT).freeze(false).start().await;
        let processor = processor.unwrap_or_else(|error| panic!("{error}"));
        let functions = instances::start(&api).await;
        let token =
            api.token().expires_in(TimeDelta::hours(1) + TimeDelta::from_std(length).expect("a time"));
        let token = token.sign();
        let arrivals = RefCell::new(Arrivals::none());
        Self { _api: api, cloudwatch, functions, processor, client, token, sent: Cell::new(0), arrivals }
    }

    /// A short outage, and a tick that sweeps what is left: what the processes take for that, they take from the beginning.
    async fn warm_up(&self) -> Third {
        let creates = self.creates(&[(Some(Fault::DENY), WARM_UP)]).await;
        self.client.batch_execute(AGE).await.expect("the owner may");
        self.tick().await;
        creates
    }

    /// Creates at full speed, with each of these faults for a while.
    async fn creates(&self, spans: &[(Option<Fault>, Duration)]) -> Third {
        let latencies = RefCell::new(Histogram::default());
        let begun = Instant::now();
        for (fault, length) in spans {
            self.cloudwatch.heal();
            if let Some(fault) = fault {
                self.cloudwatch.from_now_on(*fault);
            }
            let done = |latency| latencies.borrow_mut().add(latency);
            instances::create_until(Instant::now() + *length, &self.functions, || self.event(), done).await;
        }
        let took = begun.elapsed();
        self.cloudwatch.heal();
        Third {
            took,
            latencies: latencies.into_inner(),
            memory: load_rows::peak(&self.functions),
            memory_of_processor: load_rows::peak([&self.processor]),
        }
    }

    /// The next create.
    fn event(&self) -> Bytes {
        let number = self.sent.replace(self.sent.get().wrapping_add(1));
        let ahead = if number.is_multiple_of(SOON) { TimeDelta::seconds(3) } else { TimeDelta::hours(1) };
        let body = json!({
            "scheduled_at": (harness::clock::now() + ahead).to_rfc3339(),
            "updates": {"enabled": true, "rollout_percentage": 25},
            "reason": "first users",
        });
        let request = create_request(&format!("flag-{}", number % FLAGS), "", &body).bearer(&self.token);
        Bytes::from(request.event().to_string())
    }

    async fn tick(&self) {
        let report = self.processor.invoke(&tick_event()).await.value();
        assert_eq!(report["audit_dead"], 0, "{report:#}");
    }

    /// Has ticks deliver all that is left.
    ///
    /// # Panics
    /// When a schedule is missing or has failed, an event is lost, or one tells of what has not happened.
    async fn drain_and_compare(self, created: u64) -> Comparison {
        let deadline = Instant::now() + DRAIN;
        let left = async || {
            let left: i64 = self.client.query_one(LEFT, &[]).await.expect("a count").get(0);
            left
        };
        while left().await > 0 {
            assert!(Instant::now() < deadline, "the outbox is not drained: {} are left", left().await);
            self.client.batch_execute(AGE).await.expect("the owner may");
            tokio::join!(self.tick(), sleep(Duration::from_millis(200)));
            self.arrivals.borrow_mut().take_from(&self.cloudwatch);
        }
        self.cloudwatch.assert_all_legal();
        let row = self.client.query_one(CREATED, &[]).await.expect("counts");
        let (stored, failed): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!((u64::try_from(stored).ok(), failed), (Some(created), 0), "each request has its schedule");
        let mut arrivals = self.arrivals.into_inner();
        arrivals.take_from(&self.cloudwatch);
        let comparison = arrivals.compare(&self.client).await;
        assert_eq!((comparison.lost, comparison.unknown), (0, 0), "lost, unknown");
        comparison
    }
}
