//! More than a tick can do: nobody starves, the tick ends by itself, and the next ones finish.

use std::time::{Duration, Instant};

use harness::api::{Api, tick_event};
use harness::lambda::{Function, Launch};
use serde_json::Value;
use tokio_postgres::Client;

/// Where nobody listens: what becomes of the events is not the subject here, only that they are written.
const NOBODY: &str = "http://127.0.0.1:9";

/// The function's time limit. It works until five seconds before: three seconds are enough for a part of what is due here.
const TIMEOUT: Duration = Duration::from_secs(8);

async fn processor(api: &Api) -> Function {
    let env = api.env("schedule-processor").set("AWS_ENDPOINT_URL", NOBODY);
    Launch::of("schedule-processor").env(env).timeout(TIMEOUT).start().await.unwrap()
}

/// Flags called `{name}-1`, `{name}-2`, … with due schedules, each a second later than the one before.
async fn fill(client: &Client, name: &str, flags: i32, schedules: i32, minutes_ago: i32) {
    let sql = format!(
        "with flag as (
             insert into feature_flags (flag_key) select '{name}-' || n from generate_series(1, {flags}) n returning id
         )
         insert into feature_flag_schedules (flag_id, scheduled_at, updates)
         select id, now() - interval '{minutes_ago} minutes' - interval '1 second' * n,
             jsonb_build_object('enabled', true, 'rollout_percentage', n % 101)
         from flag, generate_series(1, {schedules}) n"
    );
    client.batch_execute(&sql).await.unwrap();
    client.batch_execute("analyze feature_flags, feature_flag_schedules").await.unwrap();
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[tokio::test]
async fn a_flag_with_fifty_thousand_due_does_not_starve_the_others() {
    let api = Api::start().await;
    let client = api.database.connect().await;
    // All of the greedy flag's are older than the others'.
    fill(&client, "greedy", 1, 50_000, 10).await;
    fill(&client, "modest", 100, 3, 1).await;
    let processor = processor(&api).await;

    let modest = "select count(*) from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
        where f.flag_key like 'modest-%' and s.status <> 'applied'";
    let mut last = Value::Null;
    for _ in 0..10 {
        last = processor.invoke(&tick_event()).await.value();
        if count(&client, modest).await == 0 {
            break;
        }
    }

    assert_eq!(count(&client, modest).await, 0, "{last:#}");
    assert!(number(&last, "still_due") > 0, "there was time for all of it, which shows nothing: {last:#}");
    let sql = "select count(*) from (
            select status, lag(status) over (order by scheduled_at, s.created_at, s.id) as before
            from feature_flag_schedules s join feature_flags f on f.id = s.flag_id where f.flag_key = 'greedy-1'
        ) s where status = 'applied' and before <> 'applied'";
    assert_eq!(count(&client, sql).await, 0, "the greedy flag's oldest come first");
}

#[tokio::test]
async fn a_tick_with_too_much_to_do_ends_by_itself_and_the_next_ones_finish() {
    const DUE: i32 = 200_000;
    let api = Api::start().await;
    let client = api.database.connect().await;
    fill(&client, "flag", DUE / 2, 2, 1).await;
    let processor = processor(&api).await;

    let started = Instant::now();
    let first = processor.invoke(&tick_event()).await.value();

    assert!(started.elapsed() < TIMEOUT, "{:?}: {first:#}", started.elapsed());
    assert!(number(&first, "applied") > 0, "{first:#}");
    assert!(number(&first, "still_due") > 0, "there was time for all of it, which shows nothing: {first:#}");
    let due = u64::try_from(DUE).unwrap();
    assert_eq!(number(&first, "applied") + number(&first, "still_due"), due, "{first:#}");
    let committed = "select count(*) from feature_flag_schedules where status = 'applied'";
    assert_eq!(u64::try_from(count(&client, committed).await), Ok(number(&first, "applied")));
    let mut applied = number(&first, "applied");
    for _ in 0..60 {
        let next = processor.invoke(&tick_event()).await.value();
        applied += number(&next, "applied");
        if next["still_due"] == 0 {
            break;
        }
    }
    assert_eq!(applied, due, "all of it, and nothing twice");
    assert_eq!(
        count(&client, "select count(distinct schedule ->> 'id') from audit_outbox").await,
        i64::from(DUE)
    );
    assert_eq!(count(&client, "select count(*) from audit_outbox").await, i64::from(DUE));
    let last = "select count(*) from feature_flags where enabled and rollout_percentage = 1";
    assert_eq!(count(&client, last).await, i64::from(DUE / 2), "the newer of two changes is the last");
}
