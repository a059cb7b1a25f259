//! Whatever is in the adopted tables: healthy flags are applied in the first tick, every page can be read, every due row
//! ends, and every end has its event.
//!
//! `ADOPTION_MINUTES=20 make test T=whatever_is_in_the_adopted_tables` goes on for so long and tells what it tried.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::audit_events::assert_valid;
use harness::cloudwatch::limits::{EVENT_OVERHEAD, MAX_BYTES};
use harness::lambda::Outcome;
use serde_json::Value;

use super::adopted_world::{self, HEALTHY, Rows, Stored};
use super::reading::{Row, pages, rows};
use super::shape::{Adopted, Column};
use super::values::are_good;
use crate::seeds::Campaign;

/// How many sets of rows are tried.
const CASES: u64 = 60;
/// How many at once, each on a service of its own.
const WORKERS: usize = 3;
const ADOPTION: Campaign =
    Campaign { test: "whatever_is_in_the_adopted_tables_harms_nobody", variables: "ADOPTION" };
/// Characters of an error's message, at most.
const MESSAGE: usize = 500;

/// How much has been tried.
#[derive(Debug, Default)]
struct Tally {
    flags: AtomicU64,
    schedules: AtomicU64,
    ended: AtomicU64,
    ticks: AtomicU64,
}

#[test]
fn whatever_is_in_the_adopted_tables_harms_nobody() {
    let tally = Tally::default();

    let played = ADOPTION.play(CASES, WORKERS, |seeds| work(seeds, &tally));

    let [flags, schedules, ended, ticks] = [&tally.flags, &tally.schedules, &tally.ended, &tally.ticks]
        .map(|count| count.load(Ordering::Relaxed));
    if played >= CASES {
        assert!(
            flags > played && schedules > played && ended > played,
            "hardly anything was tried: {tally:?}"
        );
    }
    if played != CASES {
        // Straight to the terminal, past the capture of what tests print.
        let _ = writeln!(
            std::io::stderr(),
            "{played} sets of rows: {flags} odd flags with {schedules} schedules, {ended} of them ended, in {ticks} ticks"
        );
    }
}

fn work(seeds: &mut dyn Iterator<Item = u64>, tally: &Tally) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, columns) = runtime.block_on(async {
        let world = Adopted::start().await;
        let columns = world.columns().await;
        (world, columns)
    });
    assert_varying(&columns);
    for seed in seeds {
        let failure = ADOPTION.run(seed, &adopted_world::rows(&columns), |rows| {
            runtime.block_on(violations(&world, rows, tally))
        });
        if failure.is_some() {
            return failure;
        }
    }
    None
}

/// The columns that are certain to be there: an empty list would make everything pass.
fn assert_varying(columns: &[Column]) {
    for name in [
        "enabled",
        "rollout_percentage",
        "updates",
        "scheduled_at",
        "apply_by",
        "expect",
        "reason",
        "status",
        "metadata",
    ] {
        assert!(columns.iter().any(|column| column.name == name), "{name} is not among {columns:?}");
    }
}

/// Plays one set of rows; what is wrong with what came of it.
async fn violations(world: &Adopted, odd: &Rows, tally: &Tally) -> Vec<String> {
    let mut found = Vec::new();
    let stored = odd.store(world).await;
    let sent_before = world.cloudwatch.stored().len();
    let before = rows(world).await;
    let keys: Vec<String> = stored
        .flags
        .iter()
        .filter(|index| odd.flags[**index].can_be_asked_for())
        .map(|index| odd.key(*index))
        .chain((1..=HEALTHY).map(|n| format!("healthy-{n}")))
        .collect();
    for key in &keys {
        found.extend(pages(world, key, &before).await.into_iter().map(|fault| format!("before: {fault}")));
    }

    let first = world.api.tick().await.outcome;
    let after = rows(world).await;
    if !matches!(first, Outcome::Ok(_)) {
        found.push(format!("the first tick: {first:?}"));
    }
    found.extend(ends(&before, &after, odd, &stored));
    for key in &keys {
        found.extend(pages(world, key, &after).await.into_iter().map(|fault| format!("after: {fault}")));
    }

    let second = world.api.tick().await.outcome;
    match &second {
        Outcome::Ok(report)
            if report["applied"] == 0 && report["audit_backlog"] == 0 && report["audit_dead"] == 0 => {}
        other => found.push(format!("the second tick: {other:?}")),
    }
    let digests = |rows: &[Row]| {
        rows.iter().map(|row| (row.id.clone(), row.digest.clone())).collect::<BTreeMap<_, _>>()
    };
    if digests(&rows(world).await) != digests(&after) {
        found.push("the second tick has changed rows".to_owned());
    }
    found.extend(events(world, sent_before, &before, &after));

    tally.flags.fetch_add(stored.flags.len() as u64, Ordering::Relaxed);
    tally.schedules.fetch_add(stored.schedules.len() as u64, Ordering::Relaxed);
    tally.ended.fetch_add(ended(&before, &after).count() as u64, Ordering::Relaxed);
    tally.ticks.fetch_add(2, Ordering::Relaxed);
    found
}

/// Rows that were due and have ended.
fn ended<'a>(before: &'a [Row], after: &'a [Row]) -> impl Iterator<Item = &'a Row> {
    let was_due = |row: &&Row| before.iter().any(|old| old.id == row.id && old.due);
    after.iter().filter(was_due).filter(|row| row.status == "applied" || row.status == "failed")
}

/// What is wrong with how the rows stand after the first tick.
fn ends(before: &[Row], after: &[Row], odd: &Rows, stored: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    for row in after {
        let Some(old) = before.iter().find(|old| old.id == row.id) else { continue };
        if !old.due {
            if old.digest != row.digest && old.status != row.status {
                found.push(format!("{} was {:?} and not due, and is {:?}", row.id, old.status, row.status));
            }
            continue;
        }
        let Some((flag, cells)) = stored.schedules.get(&row.id) else {
            if row.status != "applied" {
                found.push(format!("{} is {}: {}", row.flag_key, row.status, row.shown["error_code"]));
            }
            continue;
        };
        let good = cells.get("updates").map_or(Some(true), |updates| are_good(updates));
        let frozen = odd.flags[*flag].cells.get("owner_team").is_some_and(|team| team == "'frozen'");
        let plain =
            !frozen && !old.expired && cells.get("expect").is_none_or(|expect| expect == "(null)::jsonb");
        let may_hold = cells.get("expect").is_none_or(|expect| {
            expect == "(null)::jsonb" || expect == "('null')::jsonb" || are_good(expect) != Some(false)
        });
        let code = row.shown["error_code"].as_str().unwrap_or_default();
        let as_it_should = match (row.status.as_str(), good) {
            ("applied", good) => good != Some(false) && !old.expired && may_hold,
            ("failed", Some(true)) if plain => false,
            ("failed", Some(false)) if plain => code == "invalid_updates",
            ("failed", _) => {
                ["invalid_updates", "expired", "unexpected_state", "rejected_by_database"].contains(&code)
            }
            _ => false,
        };
        if !as_it_should {
            found.push(format!("{} is {} {code:?} after a tick; it was {cells:?}", row.id, row.status));
        }
    }
    found
}

/// What is wrong with the events of what has ended.
fn events(world: &Adopted, sent_before: usize, before: &[Row], after: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
    for stored in world.cloudwatch.stored().split_off(sent_before) {
        if stored.message.len() + EVENT_OVERHEAD > MAX_BYTES {
            found.push(format!("an event of {} bytes", stored.message.len()));
        }
        let event: Value = stored.json();
        if let Err(panic) = std::panic::catch_unwind(|| assert_valid(&event)) {
            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            found.push(why.chars().take(1_000).collect());
        }
        if event["error"]["message"].as_str().is_some_and(|message| message.chars().count() > MESSAGE) {
            found.push(format!("the event of {} has a longer message than {MESSAGE}", event["schedule_id"]));
        }
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        *told.entry((text("schedule_id"), text("event_type"))).or_default() += 1;
    }
    for row in ended(before, after) {
        let event = (row.id.clone(), format!("flag_schedule.{}", row.status));
        if told.remove(&event) != Some(1) {
            found.push(format!("{} of {} has not one event", event.1, event.0));
        }
    }
    found.extend(told.keys().map(|(id, kind)| format!("an event says {kind} of {id}, which did not happen")));
    found
}
