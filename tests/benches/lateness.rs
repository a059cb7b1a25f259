//! How late changes happen: ticks come every minute, as EventBridge sends them, and wait for what is planned.

use std::time::Duration;

use futures_util::future::join_all;
use harness::api::{Api, tick_event};
use harness::database::Database;
use harness::lambda::{Function, Launch};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::Client;

use crate::series::{median, percentile};
use crate::table::{Figure, Goal, Table};

/// Schedules, spread over [`SPREAD`], created [`AHEAD`] of the first.
const SCHEDULES: u32 = 40;
const SPREAD: Duration = Duration::from_secs(120);
const AHEAD: Duration = Duration::from_secs(65);
/// EventBridge's interval, and how much later than meant its ticks come at most.
const TICK: Duration = Duration::from_secs(60);
const JITTER: Duration = Duration::from_millis(900);
/// The deployed function's time limit.
const TIMEOUT: Duration = Duration::from_secs(90);

const FLAGS: &str = "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(0, 39) n";
/// In the middle of nowhere within a second, so that nothing falls together with a tick.
const PLAN: &str = "update feature_flag_schedules s
    set scheduled_at = date_trunc('second', now()) + make_interval(secs => $1::float8 + $2::float8 * rank + 0.123 + 0.017 * rank)
    from (select id, row_number() over (order by id) - 1 as rank from feature_flag_schedules) r where r.id = s.id";
const LATENESS: &str = "select extract(epoch from applied_at - scheduled_at)::float8 from feature_flag_schedules order by scheduled_at";
/// What has to be done at the time of each, by hand.
const BY_HAND: &str = "with s as (
        update feature_flag_schedules set status = 'applied', applied_at = now(), updated_at = now() where id = $1
        returning id, flag_id
    )
    update feature_flags f set enabled = true, rollout_percentage = 25, updated_at = now() from s where f.id = s.flag_id";

/// Measures the service, and beside it a client that sleeps until each time and runs the SQL.
pub async fn measure(table: &mut Table) {
    let api = Api::with().env("schedule-processor", "TICK_WATCH", Some("planned")).start().await;
    let client = api.database.connect().await;
    client.batch_execute(FLAGS).await.expect("the flags");
    create_all(&api).await;
    plan(&client).await;
    let floor = Database::migrated().await;
    let by_hand = floor.connect().await;
    by_hand.batch_execute(FLAGS).await.expect("the flags");
    let copy = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        select id, now() + interval '1 hour', '{\"enabled\": true, \"rollout_percentage\": 25}' from feature_flags";
    by_hand.batch_execute(copy).await.expect("the schedules");
    plan(&by_hand).await;

    // Two environments: a tick still waits when the next one comes.
    let processors = [processor(&api).await, processor(&api).await];
    let start = Instant::now();
    let ticks = (0..4_u32).map(async |number| {
        let late = JITTER * (number * 7 % 10) / 10;
        sleep_until(start + TICK * number + late).await;
        processors[number as usize % 2].invoke(&tick_event()).await.value()
    });
    let (_, ()) = tokio::join!(join_all(ticks), sleep_and_run(&by_hand));

    let (service, floor) = (lateness(&client).await, lateness(&by_hand).await);
    table.draw_times("service", &service);
    table.draw_times("floor", &floor);
    for (what, of, goal) in [
        ("p50", median as fn(&[Duration]) -> Duration, Goal::AtMost(Figure::time(Duration::from_millis(50)))),
        ("p99", |series| percentile(series, 99), Goal::Times(3.0)),
    ] {
        let what = format!("lateness of {SCHEDULES} schedules created a minute ahead, {what}");
        let floor = Figure::time(of(&floor));
        table.add(
            &what,
            Figure::time(of(&service)),
            Some((floor, "a client that sleeps and runs SQL")),
            Some(goal),
        );
    }
}

async fn processor(api: &Api) -> Function {
    let launch = Launch::of("schedule-processor").env(api.env("schedule-processor")).timeout(TIMEOUT);
    launch.start().await.expect("the processor")
}

async fn create_all(api: &Api) {
    let at = harness::clock::now() + chrono::TimeDelta::hours(1);
    let body =
        json!({"scheduled_at": at.to_rfc3339(), "updates": {"enabled": true, "rollout_percentage": 25}});
    for flag in 0..SCHEDULES {
        let created = api.create(&api.admin(), &format!("flag-{flag}"), "", &body).await;
        assert_eq!(created.status, 201, "{created:?}");
    }
}

async fn plan(client: &Client) {
    let (ahead, step) = (AHEAD.as_secs_f64(), (SPREAD / SCHEDULES).as_secs_f64());
    client.execute(PLAN, &[&ahead, &step]).await.expect("times");
}

async fn sleep_and_run(client: &Client) {
    let sql = "select id, extract(epoch from scheduled_at - clock_timestamp())::float8 from feature_flag_schedules order by scheduled_at";
    let rows = client.query(sql, &[]).await.expect("the times");
    let now = Instant::now();
    let statement = client.prepare(BY_HAND).await.expect("a statement");
    for row in rows {
        sleep_until(now + Duration::from_secs_f64(row.get::<_, f64>(1))).await;
        client.execute(&statement, &[&row.get::<_, uuid::Uuid>(0)]).await.expect("by hand");
    }
}

/// # Panics
/// When one was early, or did not happen.
async fn lateness(client: &Client) -> Vec<Duration> {
    let rows = client.query(LATENESS, &[]).await.expect("the times");
    rows.iter()
        .map(|row| {
            let seconds: Option<f64> = row.get(0);
            Duration::try_from_secs_f64(seconds.expect("it was applied")).expect("it was not early")
        })
        .collect()
}
