//! What Lambda bills for a call: the time from its event to the end of all work for it, with the delivery of audit events
//! after the answer; and the bytes that the function writes to its log. `cost.py` multiplies them by prices.

use std::time::Duration;

use harness::api::{Api, cancel_request, list_request, tick_event};
use harness::cloudwatch::CloudWatch;
use harness::lambda::{Env, Function, Launch};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::series::{in_turn, median};
use crate::table::{Figure, Table};
use crate::warm::create_event;

const ROUNDS: usize = 100;
const FLAG: &str = "bench";
/// The processor's time limit as deployed.
const LIMIT: Duration = Duration::from_secs(90);
/// Schedules that a tick with work finds due, on as many flags.
const DUE: u32 = 100;
const FLAGS: &str =
    "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, $1::bigint) n";
const COME_DUE: &str = "insert into feature_flag_schedules (flag_id, scheduled_at, updates, created_by)
    select id, now(), '{\"rollout_percentage\": 25}', 'admin-1' from feature_flags where flag_key like 'flag-%'";
const PENDING: &str = "select id from feature_flag_schedules where status = 'pending' limit 1";

/// Measures warm requests and ticks, each beside a hello-world, and one tick that waits all the time.
pub async fn measure(table: &mut Table) {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    api.flag(FLAG, "production").await;
    let client = api.database.connect().await;
    let token = api.admin();
    let event = create_event(&token).event();
    let hello = Launch::of("hello-world").env(Env::new()).start().await.expect("hello-world");
    let mut calls = Calls { table, hello, event: event.clone() };

    calls.measure("create", api.function("create-schedule").await, async || event.clone()).await;
    let bytes = cloudwatch.stored().last().map_or(0, |event| event.message.len());
    calls.table.draw("bytes of an audit event", f64::from(u32::try_from(bytes).expect("a kilobyte")));
    let list = list_request(FLAG, "").bearer(&token).event();
    calls.measure("list", api.function("list-schedules").await, async || list.clone()).await;
    let cancel = async || {
        let id: Uuid = client.query_one(PENDING, &[]).await.expect("one of the created").get(0);
        cancel_request(FLAG, &id.to_string(), "").bearer(&token).event()
    };
    calls.measure("cancel", api.function("cancel-schedule").await, cancel).await;

    let processor = processor(&api, "off").await;
    calls.measure("idle tick", &processor, async || tick_event()).await;
    client.execute(FLAGS, &[&i64::from(DUE)]).await.expect("the flags");
    calls.measure("tick with 100 due", &processor, async || tick_with_work(&client).await).await;

    let watching = done_after(&self::processor(&api, "always").await, &tick_event()).await;
    table.draw_times("watching tick", &[watching]);
    table.add("billed duration of an idle tick with `TICK_WATCH=always`", Figure::time(watching), None, None);
}

struct Calls<'a> {
    table: &'a mut Table,
    hello: Function,
    event: Value,
}

impl Calls<'_> {
    /// Measures calls of a function. The series has two values: the duration, and the bytes of the function's log lines.
    async fn measure(&mut self, what: &'static str, function: &Function, event: impl AsyncFn() -> Value) {
        let before = bytes_of_log(function);
        let call = async || done_after(function, &event().await).await;
        let floor = async || done_after(&self.hello, &self.event).await;
        let (measured, floor) = in_turn(ROUNDS, call, floor).await;
        let calls = u32::try_from(ROUNDS + 1).expect("a hundred");
        self.table.draw_times(what, &[median(&measured)]);
        self.table.draw(what, f64::from(bytes_of_log(function) - before) / f64::from(calls));
        self.table.compare(
            &format!("billed duration of a warm {what}"),
            &measured,
            ("hello-world", &floor),
            None,
        );
    }
}

async fn processor(api: &Api, watch: &str) -> Function {
    let env = api.env("schedule-processor").set("TICK_WATCH", watch);
    Launch::of("schedule-processor").env(env).timeout(LIMIT).start().await.expect("the processor")
}

async fn tick_with_work(client: &Client) -> Value {
    let due = client.execute(COME_DUE, &[]).await.expect("the schedules");
    assert_eq!(due, u64::from(DUE));
    tick_event()
}

async fn done_after(function: &Function, event: &Value) -> Duration {
    let answer = function.invoke(event).await.value();
    let status = answer["statusCode"].as_u64().unwrap_or(200);
    assert!(status < 300, "{answer:#}");
    function.settled(LIMIT).await.expect("it was invoked").done_after
}

fn bytes_of_log(function: &Function) -> u32 {
    u32::try_from(function.logs().iter().map(|line| line.len() + 1).sum::<usize>()).expect("some kilobytes")
}
