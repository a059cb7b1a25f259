//! Ticks that wait, in real time: any schedules, created and cancelled at any moment, ticks that overlap, connections killed,
//! flags locked by others. Nothing is applied early, everything once and in order, and nothing is left.
//!
//! `WATCH_MINUTES=20 make test T=whatever_happens_while_ticks_wait` goes on for so long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flag_schedules::domain::schedule::{Cancellation, ScheduleId};
use flag_schedules::ports::schedules::ScheduleError;
use flag_schedules::processor::{RESERVE, Watch};
use futures_util::future::join_all;
use harness::audit_events::assert_valid;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::play::key;
use super::world::{World, address, caller};
use crate::seeds::Campaign;

const CASES: u64 = 16;
const WORKERS: usize = 8;
const WATCHING: Campaign =
    Campaign { test: "whatever_happens_while_ticks_wait_is_applied_once_and_in_order", variables: "WATCH" };
/// Milliseconds in which all of it happens, and a tick waits.
const HORIZON: u64 = 2_500;
/// Nothing comes due later, or a slow machine would be too late for it.
const LAST_DUE: u64 = 2_000;

/// All times in milliseconds from the start.
#[derive(Clone, Debug)]
struct Story {
    schedules: Vec<Planned>,
    /// When ticks begin, each on a processor of its own.
    ticks: Vec<u64>,
    kills: Vec<u64>,
    /// A flag, locked at a time for a time.
    locks: Vec<(usize, u64, u64)>,
    watch: Watch,
}

#[derive(Clone, Debug)]
struct Planned {
    flag: usize,
    due: u64,
    created: u64,
    percentage: u8,
    expect: Option<bool>,
    cancelled: Option<u64>,
}

const FLAGS: usize = 3;

fn stories() -> impl Strategy<Value = Story> {
    let created = prop_oneof![3 => Just(0), 1 => 0..HORIZON];
    let cancelled = prop::option::weighted(0.2, 0..HORIZON);
    let planned =
        (0..FLAGS, 0..LAST_DUE, created, 0..=100_u8, prop::option::weighted(0.3, any::<bool>()), cancelled)
            .prop_map(|(flag, due, created, percentage, expect, cancelled)| Planned {
                flag,
                due,
                created,
                percentage,
                expect,
                cancelled,
            });
    let locks = (0..FLAGS, 0..HORIZON, 0..HORIZON / 2);
    (
        prop::collection::vec(planned, 1..=12),
        prop::collection::vec(0..HORIZON, 1..=3),
        prop::collection::vec(0..HORIZON, 0..=3),
        prop::collection::vec(locks, 0..=2),
        prop_oneof![Just(Watch::Planned), Just(Watch::Always)],
    )
        .prop_map(|(schedules, ticks, kills, locks, watch)| Story {
            schedules,
            ticks,
            kills,
            locks,
            watch,
        })
}

#[test]
fn whatever_happens_while_ticks_wait_is_applied_once_and_in_order() {
    WATCHING.play(CASES, WORKERS, |seeds| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for seed in seeds {
            let failure = WATCHING.run(seed, &stories(), |story| runtime.block_on(faults(story)));
            if failure.is_some() {
                return failure;
            }
        }
        None
    });
}

async fn faults(story: &Story) -> Vec<String> {
    let world = World::start_watching(story.ticks.len(), story.watch).await;
    let flags = "insert into feature_flags (flag_key, enabled) select 'flag-' || n, n % 2 = 0 from generate_series(0, 2) n";
    world.client.batch_execute(flags).await.unwrap();
    let ids: Vec<Uuid> = story.schedules.iter().map(|_| Uuid::now_v7()).collect();
    let start = Instant::now();
    let at = |millis: u64| tokio::time::sleep_until((start + Duration::from_millis(millis)).into());

    let ticking = join_all(story.ticks.iter().enumerate().map(async |(processor, begins)| {
        at(*begins).await;
        // It waits until the horizon, and for what it then still needs.
        let deadline = start + Duration::from_millis(HORIZON) + RESERVE + Duration::from_secs(1);
        world.tick_until(processor, deadline).await
    }));
    let creating = join_all(story.schedules.iter().zip(&ids).map(async |(planned, id)| {
        at(planned.created).await;
        let sql = "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, expect)
            select $1, id, clock_timestamp() + make_interval(secs => $2), $3, $4 from feature_flags where flag_key = $5";
        let ahead = planned.due.saturating_sub(planned.created);
        let updates = json!({"rollout_percentage": planned.percentage, "enabled": planned.percentage % 2 == 0});
        let expect = planned.expect.map(|enabled| json!({ "enabled": enabled }));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few seconds")]
        let seconds = ahead as f64 / 1_000.0;
        world.client.execute(sql, &[id, &seconds, &updates, &expect, &key(planned.flag)]).await.unwrap();
    }));
    let cancelling = join_all(story.schedules.iter().zip(&ids).map(async |(planned, id)| {
        at(planned.cancelled?.max(planned.created)).await;
        let cancellation =
            Cancellation { flag: address(&key(planned.flag)), id: ScheduleId(*id), reason: None };
        Some((*id, world.service.cancel(&caller(), &cancellation).await.map(drop)))
    }));
    let killing = join_all(story.kills.iter().map(async |kill| {
        at(*kill).await;
        world.kill().await;
    }));
    let locking = join_all(story.locks.iter().map(async |(flag, from, time)| {
        let client = world.connect().await;
        at(*from).await;
        let lock = format!("begin; select from feature_flags where flag_key = '{}' for update", key(*flag));
        client.batch_execute(&lock).await.unwrap();
        at(from + time).await;
        client.batch_execute("rollback").await.unwrap();
    }));
    let (reports, _, cancelled, _, _) = tokio::join!(ticking, creating, cancelling, killing, locking);
    world.finish().await;

    let mut found = Vec::new();
    let cancelled: BTreeMap<Uuid, Result<(), ScheduleError>> = cancelled.into_iter().flatten().collect();
    compare(&world, &cancelled, &mut found).await;
    if !found.is_empty() {
        found.push(format!("the ticks: {reports:?}"));
    }
    found
}

/// What is wrong with the rows and with the events, flag by flag, in the order in which they were decided.
async fn compare(
    world: &World,
    cancelled: &BTreeMap<Uuid, Result<(), ScheduleError>>,
    found: &mut Vec<String>,
) {
    let mut events = events(world).await;
    let sql = "select s.id, f.flag_key, s.status, s.updates, s.expect,
            coalesce(coalesce(s.applied_at, s.failed_at) < s.scheduled_at, false),
            f.enabled, f.rollout_percentage::bigint
        from feature_flag_schedules s join feature_flags f on f.id = s.flag_id";
    let rows = world.client.query(sql, &[]).await.unwrap();
    let mut states: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    let mut by_id = BTreeMap::new();
    for row in &rows {
        let (id, flag, status): (Uuid, String, String) = (row.get(0), row.get(1), row.get(2));
        if row.get::<_, bool>(5) {
            found.push(format!("{id} was {status} before its time"));
        }
        let is_cancelled = matches!(cancelled.get(&id), Some(Ok(())));
        if is_cancelled != (status == "cancelled") || status == "pending" {
            found.push(format!("{id} is {status}; its cancel was answered with {:?}", cancelled.get(&id)));
        }
        let initial = json!({"enabled": flag != "flag-1", "rollout_percentage": 0});
        let last = json!({"enabled": row.get::<_, bool>(6), "rollout_percentage": row.get::<_, i64>(7)});
        states.entry(flag.clone()).or_insert((initial, last));
        by_id.insert(id.to_string(), (flag, status, row.get::<_, Value>(3), row.get::<_, Option<Value>>(4)));
    }
    // The ids of events rise, and all are made in this process, under the lock of their flag.
    events.sort_by(|a, b| a["event_id"].as_str().cmp(&b["event_id"].as_str()));
    let mut told: BTreeMap<&str, u32> = BTreeMap::new();
    for event in &events {
        let id = event["schedule_id"].as_str().unwrap_or_default();
        let Some((flag, status, updates, expect)) = by_id.get(id) else {
            found.push(format!("an event about nothing: {event}"));
            continue;
        };
        *told.entry(id).or_default() += 1;
        if event["event_type"] != format!("flag_schedule.{status}") {
            found.push(format!("{id} is {status}, but {} was told", event["event_type"]));
        }
        let state = &mut states.get_mut(flag).unwrap().0;
        let holds = expect.as_ref().is_none_or(|expect| expect["enabled"] == state["enabled"]);
        if status == "applied" {
            let is_right =
                event["change"]["before"] == *state && event["change"]["after"] == *updates && holds;
            if !is_right {
                found.push(format!(
                    "{flag} was {state}, and {id} made {} of it; expected {expect:?}",
                    event["change"]
                ));
            }
            *state = event["change"]["after"].clone();
        } else if status == "failed" && (event["state"] != *state || holds) {
            found.push(format!("{flag} was {state}, and {id} failed: {event}"));
        }
    }
    for (id, (_, status, ..)) in &by_id {
        if told.get(id.as_str()) != Some(&1) {
            found.push(format!("{id} is {status} and has {:?} events", told.get(id.as_str())));
        }
    }
    for (flag, (reached, is)) in states {
        if reached != is {
            found.push(format!("{flag} is {is}, but its events lead to {reached}"));
        }
    }
}

/// Each event once, from the log and from the outbox.
async fn events(world: &World) -> Vec<Value> {
    let mut events: BTreeMap<String, Value> = BTreeMap::new();
    for event in world.log.events() {
        assert_valid(&event);
        events.insert(event["event_id"].to_string(), event);
    }
    let sql = "select jsonb_build_object('event_id', event_id, 'event_type', event_type, 'schedule_id', schedule -> 'id') || context
        from audit_outbox";
    for row in world.client.query(sql, &[]).await.unwrap() {
        let event: Value = row.get(0);
        events.entry(event["event_id"].to_string()).or_insert(event);
    }
    events.into_values().collect()
}
