//! Random histories with faults, and random manipulations of what they left: an honest history has no findings, and each
//! manipulation is found, and nothing else.
//!
//! `VERIFY_MINUTES=20 make test T=any_history_is_verified` goes on for so long; `VERIFY_SEED` begins at another seed, which a
//! failure names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::cloudwatch::Fault;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail_world::{World, assert_no_findings, too_late_in, turn_on_in, wait_until_due};
use crate::seeds::Dice;
use crate::support::text;

/// Histories without `VERIFY_MINUTES`.
const CASES: u64 = 2;

/// Names the seed when a test ends early.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the verification failed with VERIFY_SEED={}", self.0);
        }
    }
}

#[tokio::test]
async fn any_history_is_verified() {
    let number = |name: &str| harness::settings::get(name).map(|value| value.parse::<u64>().unwrap());
    let minutes = number("VERIFY_MINUTES");
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let first = number("VERIFY_SEED").unwrap_or(1);
    for seed in first.. {
        if end.map_or(seed >= first + CASES, |end| Instant::now() >= end) {
            break;
        }
        let named = Seed(seed);
        case(&mut Dice(seed)).await;
        drop(named);
    }
}

async fn case(dice: &mut Dice) {
    let world = World::start().await;
    live(&world, dice).await;
    let honest = world.verify().await;
    assert_no_findings(&honest);
    assert_eq!(honest["checked"], world.transitions().await, "{honest:#}");

    let expected = manipulate(&world, dice).await;
    let result = world.verify().await;

    assert_eq!(Expected::of(&result), expected, "{result:#}");
}

/// Creates, cancels, applies and fails, while the log has faults and functions are killed.
async fn live(world: &World, dice: &mut Dice) {
    for _ in 0..12 {
        match dice.roll(8) {
            0 => world.cloudwatch.next(1, Fault::StoreThenCut),
            1 => world.cloudwatch.next(2, Fault::UNAVAILABLE),
            2 => world.cloudwatch.next(1, Fault::Cut),
            3 => world.cloudwatch.next(3, Fault::THROTTLE),
            _ => {}
        }
        let body = match dice.roll(4) {
            0 => too_late_in(1),
            1 => turn_on_in(3600),
            _ => turn_on_in(1),
        };
        let id = world.create(&body).await;
        if dice.roll(4) == 0 {
            world.cancel(&id).await;
        }
        if dice.roll(5) == 0 {
            let function = world.api.function("create-schedule").await;
            tokio::time::sleep(Duration::from_micros(dice.roll(3_000))).await;
            function.kill();
        }
    }
    wait_until_due().await;
    world.deliver().await;
}

/// The findings, in a form that has no order.
#[derive(Debug, Default, Eq, PartialEq)]
struct Expected {
    missing: BTreeMap<(String, String), usize>,
    unknown: BTreeMap<(String, String, String), usize>,
    different: BTreeMap<(String, String, Vec<String>), usize>,
}

fn key(finding: &Value) -> (String, String) {
    (text(finding, "schedule_id").to_owned(), text(finding, "event_type").to_owned())
}

impl Expected {
    fn of(result: &Value) -> Self {
        let mut found = Self::default();
        let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
        for missing in list("missing") {
            *found.missing.entry(key(&missing)).or_default() += 1;
        }
        for unknown in list("unknown") {
            found.unknown(&unknown, text(&unknown, "reason"));
        }
        for different in list("different") {
            let fields: Vec<String> = serde_json::from_value(different["fields"].clone()).unwrap();
            found.different(&different, &fields);
        }
        found
    }

    fn unknown(&mut self, event: &Value, reason: &str) {
        let (schedule, event_type) = key(event);
        *self.unknown.entry((schedule, event_type, reason.to_owned())).or_default() += 1;
    }

    fn different(&mut self, event: &Value, fields: &[impl AsRef<str>]) {
        let (schedule, event_type) = key(event);
        let fields = fields.iter().map(|field| field.as_ref().to_owned()).collect();
        *self.different.entry((schedule, event_type, fields)).or_default() += 1;
    }
}

/// Does something to half of the schedules.
async fn manipulate(world: &World, dice: &mut Dice) -> Expected {
    let client = world.api.database.connect().await;
    let rows = client
        .query("select id::text, status from feature_flag_schedules order by created_at, id", &[])
        .await
        .unwrap();
    let mut expected = Expected::default();
    for row in rows {
        let (id, status): (String, String) = (row.get(0), row.get(1));
        if dice.roll(2) == 0 {
            continue;
        }
        let ended = (status != "pending").then(|| world.event(&id, &status));
        let events: Vec<Value> = [world.event(&id, "created")].into_iter().chain(ended).collect();
        let event = &events[usize::try_from(dice.roll(events.len() as u64)).unwrap()];
        let is_it = |message: &str| message.contains(text(event, "event_id"));
        match dice.roll(8) {
            0 => {
                world.cloudwatch.tamper(|stored| stored.retain(|event| !is_it(&event.message)));
                *expected.missing.entry(key(event)).or_default() += 1;
            }
            1 => {
                let mut altered = event.clone();
                altered["schedule"]["reason"] = json!("it was agreed");
                world.cloudwatch.tamper(|stored| {
                    for event in stored.iter_mut().filter(|event| is_it(&event.message)) {
                        event.message = altered.to_string().into();
                    }
                });
                expected.different(&altered, &["schedule.reason"]);
            }
            2 => {
                let mut forged = event.clone();
                forged["schedule_id"] = json!(Uuid::now_v7());
                world.forge(&forged).await;
                expected.unknown(&forged, "no_schedule");
            }
            3 => {
                let mut second = event.clone();
                second["event_id"] = json!(Uuid::now_v7());
                world.forge(&second).await;
                expected.unknown(&second, "second_event");
            }
            4 => {
                world.sql(&format!("update feature_flag_schedules set reason = 'x' where id = '{id}'")).await;
                events.iter().for_each(|event| expected.different(event, &["schedule.reason"]));
            }
            5 => {
                world.sql(&format!("delete from feature_flag_schedules where id = '{id}'")).await;
                events.iter().for_each(|event| expected.unknown(event, "no_schedule"));
            }
            6 if status == "applied" => {
                let again = format!(
                    "update feature_flag_schedules set status = 'pending', applied_at = null where id = '{id}'"
                );
                world.sql(&again).await;
                world.deliver().await;
                expected.different(&events[1], &["lateness_ms", "occurred_at"]);
            }
            _ => {
                let cancel = format!(
                    "update feature_flag_schedules
                     set status = 'cancelled', cancelled_by = 'ben', cancelled_at = clock_timestamp() where id = '{id}'"
                );
                world.sql(&cancel).await;
                match status.as_str() {
                    "cancelled" => expected.different(&events[1], &["actor.user_id", "occurred_at"]),
                    _ => {
                        let cancelled = (id, "flag_schedule.cancelled".to_owned());
                        *expected.missing.entry(cancelled).or_default() += 1;
                        events[1..].iter().for_each(|event| expected.different(event, &["event_type"]));
                    }
                }
            }
        }
    }
    expected
}
