//! A cancel or a newer change against a tick: one winner, nothing in the wrong order.

use std::time::Duration;

use flag_schedules::domain::schedule::{Cancellation, ScheduleId, Status, StoredStatus};
use flag_schedules::ports::schedules::ScheduleError;
use harness::api::{Api, tick_event};
use harness::lambda::Function;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::world::{World, address, caller};
use crate::support::{LIMIT, of_type};

/// Makes the flag `a` with nothing but one due schedule; gives its id.
async fn one_due(world: &World) -> Uuid {
    world.clear().await;
    let sql = "with flag as (insert into feature_flags (flag_key) values ('a') returning id)
        insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        select id, now() - interval '1 second', '{\"enabled\": true}' from flag returning id";
    world.client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The flag, the schedule's status, and what the trail says of its end.
async fn told(world: &World) -> (bool, String, Vec<String>) {
    let sql =
        "select f.enabled, s.status from feature_flags f join feature_flag_schedules s on s.flag_id = f.id";
    let row = world.client.query_one(sql, &[]).await.unwrap();
    let rows = world.client.query("select event_id::text, event_type from audit_outbox", &[]).await.unwrap();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let arrived = world.log.events();
    let mut events: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .chain(arrived.iter().map(|event| (text(event, "event_id"), text(event, "event_type"))))
        .collect();
    events.sort();
    events.dedup();
    (row.get(0), row.get(1), events.into_iter().map(|(_, event_type)| event_type).collect())
}

#[tokio::test]
async fn a_thousand_races_of_a_cancel_and_a_tick_have_one_winner_each() {
    let world = World::start(1).await;
    let mut cancelled = 0;

    for round in 0..1_000_u64 {
        let id = one_due(&world).await;
        // From well ahead to well behind, over and over: a tick reaches the schedule after a millisecond or so.
        let head_start = Duration::from_micros((round % 20) * 200);
        let (cancel_after, tick_after) =
            if round % 2 == 0 { (head_start, Duration::ZERO) } else { (Duration::ZERO, head_start) };
        let cancel = async {
            tokio::time::sleep(cancel_after).await;
            let cancellation = Cancellation { flag: address("a"), id: ScheduleId(id), reason: None };
            world.service.cancel(&caller(), &cancellation).await
        };
        let tick = async {
            tokio::time::sleep(tick_after).await;
            world.tick(0).await.unwrap()
        };

        let (answer, report) = tokio::join!(cancel, tick);

        let told = told(&world).await;
        let (won, became, stands) = match &answer {
            Ok(schedule) => (true, "cancelled", schedule.status.clone()),
            Err(ScheduleError::NotPending(schedule)) => (false, "applied", schedule.status.clone()),
            Err(error) => panic!("round {round}: {error}"),
        };
        cancelled += u32::from(won);
        assert_eq!(
            stands,
            StoredStatus::Known(if won { Status::Cancelled } else { Status::Applied }),
            "round {round}: {answer:?}"
        );
        assert_eq!(report.applied, u64::from(!won), "round {round}: {answer:?}");
        let expected = (!won, became.to_owned(), vec![format!("flag_schedule.{became}")]);
        assert_eq!(told, expected, "round {round}: {answer:?}");
    }

    assert!((100..=900).contains(&cancelled), "a race that is not one: {cancelled} of 1000 were cancelled");
}

/// Whoever writes the flag waits until the test lets go.
const HELD_UP: &str = "
    create function hold_up() returns trigger language plpgsql as $$
    begin
        perform pg_advisory_xact_lock(1);
        return new;
    end $$;
    create trigger hold_up before update on feature_flags for each row execute function hold_up();";

async fn due(client: &Client, flag: Uuid, ago: f64, updates: Value) {
    let sql = "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        values ($1, now() - make_interval(secs => $2), $3)";
    client.execute(sql, &[&flag, &ago, &updates]).await.unwrap();
}

/// Waits until a tick is held up in the middle of writing.
async fn held_up(client: &Client) {
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())";
    let deadline = std::time::Instant::now() + LIMIT;
    while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(std::time::Instant::now() < deadline, "no tick is held up");
        tokio::task::yield_now().await;
    }
}

fn percentages(events: &[Value]) -> Vec<(i64, i64)> {
    let mut changes: Vec<_> = of_type(events, "flag_schedule.applied")
        .iter()
        .map(|event| {
            let percentage = |side: &str| event["change"][side]["rollout_percentage"].as_i64().unwrap();
            (event["schedule"]["scheduled_at"].to_string(), (percentage("before"), percentage("after")))
        })
        .collect();
    changes.sort();
    changes.into_iter().map(|(_, change)| change).collect()
}

/// Two processors and a flag with one due schedule, whose writing is held up.
struct Race {
    api: Api,
    client: Client,
    flag: Uuid,
    slow: Function,
    quick: Function,
}

impl Race {
    async fn prepared() -> Self {
        let api = Api::start().await;
        let flag = api.flag("a", "production").await;
        let slow = api.another("schedule-processor").await;
        let quick = api.another("schedule-processor").await;
        let client = api.database.connect().await;
        client.batch_execute(HELD_UP).await.unwrap();
        due(&client, flag, 60.0, json!({"rollout_percentage": 10})).await;
        client.execute("select pg_advisory_lock(1)", &[]).await.unwrap();
        Self { api, client, flag, slow, quick }
    }
}

async fn a_newer_one_comes_due_while_the_older_is_written(client: &Client, flag: Uuid) {
    held_up(client).await;
    due(client, flag, 30.0, json!({"rollout_percentage": 20})).await;
}

#[tokio::test]
async fn a_newer_change_never_lands_under_an_older_one_that_a_slow_tick_is_still_writing() {
    let Race { api, client, flag, slow, quick } = Race::prepared().await;

    let meanwhile = async {
        a_newer_one_comes_due_while_the_older_is_written(&client, flag).await;
        let report = quick.invoke(&tick_event()).await.value();
        client.execute("select pg_advisory_unlock(1)", &[]).await.unwrap();
        report
    };
    let tick = tick_event();
    let (slow, quick) = tokio::join!(slow.invoke(&tick), meanwhile);

    assert_eq!((&quick["applied"], &quick["still_due"]), (&json!(0), &json!(2)), "{quick:#}");
    assert_eq!(slow.value()["applied"], 2, "it does what has come up meanwhile, after its own");
    assert_eq!(api.flag_state("a", "production").await, (false, 20));
    assert_eq!(percentages(&api.events().await), [(0, 10), (10, 20)]);
}

#[tokio::test]
async fn what_a_killed_tick_was_writing_is_done_by_the_next_before_anything_newer() {
    let Race { api, client, flag, slow, quick } = Race::prepared().await;

    let meanwhile = async {
        a_newer_one_comes_due_while_the_older_is_written(&client, flag).await;
        slow.kill();
        client.execute("select pg_advisory_unlock(1)", &[]).await.unwrap();
    };
    let tick = tick_event();
    let (_killed, ()) = tokio::join!(slow.invoke(&tick), meanwhile);
    // The server may need a moment to notice, or even to commit what it was told before.
    let deadline = std::time::Instant::now() + LIMIT;
    while quick.invoke(&tick).await.value()["still_due"] != 0 {
        assert!(std::time::Instant::now() < deadline, "the killed tick's flag stays locked");
    }

    assert_eq!(api.flag_state("a", "production").await, (false, 20));
    client
        .execute("update audit_outbox set written_at = written_at - interval '1 minute'", &[])
        .await
        .unwrap();
    quick.invoke(&tick).await.value();
    quick.settled(LIMIT).await;
    assert_eq!(percentages(&api.events().await), [(0, 10), (10, 20)]);
}
