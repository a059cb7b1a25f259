//! Honest histories have no findings; whatever is done to a history is reported, and nothing else.

mod history;
mod manipulations;
mod memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::verifier::Limits;
use super::window::Window;
use super::{Verification, Verifier};
use crate::domain::audit_event::EventType;
use crate::domain::time::Timestamp;
use crate::domain::time_range::TimeRange;
use history::{Delivery, HOUR_MS, Story, event, row, story};
use memory::Memory;

const LIMITS: Limits = Limits { slice: 5, page: 3, candidates: 1_000, settle: Duration::ZERO };

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The start of the window, which ends 25 hours later.
fn start() -> Timestamp {
    time("2026-02-01T00:00:00Z")
}

/// So late that the log refused the timestamps of events that were not delivered at once.
fn weeks_later() -> Timestamp {
    time("2026-03-01T00:00:00Z")
}

fn window() -> Window {
    let range = TimeRange { from: start(), to: start().plus_millis(25 * HOUR_MS) };
    Window { range, resume: range.from }
}

fn verify_with(memory: Memory, limits: Limits, left: Duration) -> Verification {
    let memory = Arc::new(memory);
    let verifier = Verifier { trail: Arc::clone(&memory) as _, transitions: memory, limits };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(verifier.verify(window(), weeks_later(), Instant::now() + left)).unwrap()
}

fn verify(memory: Memory) -> Verification {
    verify_with(memory, LIMITS, Duration::from_secs(60))
}

/// Both sides after an honest history.
fn honest(stories: &[Story]) -> Memory {
    let mut memory = Memory::default();
    for (index, story) in stories.iter().enumerate() {
        let row = row(index, story, start());
        let types = [Some(EventType::Created), story.end];
        for (event_type, delivery) in types.into_iter().zip(story.delivery) {
            let Some(event) = event_type.map(|event_type| event(&row, event_type)) else { continue };
            match delivery {
                Delivery::Once => memory.store(&event),
                Delivery::Twice => (0..2).for_each(|_| memory.store(&event)),
                Delivery::Late => {
                    let message = serde_json::to_string(&event).unwrap();
                    memory.log.push((weeks_later().plus_millis(-HOUR_MS), message));
                }
                Delivery::Outbox => memory.keep_in_outbox(&event),
                Delivery::StoredAndOutbox => {
                    memory.store(&event);
                    memory.keep_in_outbox(&event);
                }
            }
        }
        memory.rows.push(row);
    }
    memory
}

fn deliveries(stories: &[Story], wanted: Delivery) -> u64 {
    let of = |story: &Story| {
        let ended = story.end.map(|_| story.delivery[1]);
        [Some(story.delivery[0]), ended].into_iter().flatten().filter(|delivery| *delivery == wanted).count()
    };
    stories.iter().map(of).sum::<usize>() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_honest_history_has_no_findings(stories in proptest::collection::vec(story(), 0..40)) {
        let verification = verify(honest(&stories));

        let findings = &verification.findings;
        prop_assert!(verification.complete && verification.resume.is_none());
        prop_assert_eq!(&findings.missing, &[]);
        prop_assert_eq!(&findings.unknown, &[]);
        prop_assert_eq!(&findings.different, &[]);
        let ends = stories.iter().filter(|story| story.end.is_some()).count();
        prop_assert_eq!(findings.checked, (stories.len() + ends) as u64);
        prop_assert_eq!(findings.duplicates, deliveries(&stories, Delivery::Twice));
        prop_assert_eq!(findings.undelivered, deliveries(&stories, Delivery::Outbox));
    }
}

fn one(end: Option<EventType>) -> Story {
    Story {
        created_after: 60_000,
        lasted: 2 * HOUR_MS,
        end,
        expect: None,
        updates: serde_json::json!({"enabled": true}),
        reason: None,
        delivery: [Delivery::Once; 2],
    }
}

#[test]
fn an_event_that_was_delivered_a_moment_ago_is_not_missing() {
    let mut memory = honest(&[one(None)]);
    let (at, message) = memory.log.remove(0);
    // Visible only when the candidates are looked for again: 25 hours are five slices of two pages each.
    memory.not_visible_yet.get_mut().unwrap().push((11, at, message));

    let findings = verify(memory).findings;

    assert_eq!((findings.checked, findings.missing_count), (1, 0));
}

#[test]
fn rows_from_before_the_service_are_not_missed_but_what_it_did_to_them_is() {
    let stories = [EventType::Applied, EventType::Cancelled, EventType::Failed].map(|end| one(Some(end)));
    let mut memory = honest(&stories);
    memory.log.clear();
    for row in &mut memory.rows {
        row.created_by = None;
    }

    let findings = verify(memory).findings;

    let missing: Vec<_> = findings.missing.iter().map(|missing| missing.event_type).collect();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing.contains(&EventType::Cancelled) && missing.contains(&EventType::Failed), "{missing:?}");
}

/// After an upgrade, the trail has events of the version before; the state is known from version 2 on.
#[test]
fn an_event_of_version_1_has_neither_expectation_nor_state() {
    let different = |change: fn(&mut Value)| {
        let mut memory = honest(&[one(Some(EventType::Failed))]);
        for (_, message) in &mut memory.log {
            let mut event: Value = serde_json::from_str(message).unwrap();
            change(&mut event);
            *message = event.to_string();
        }
        let findings = verify(memory).findings;
        findings.different.into_iter().flat_map(|different| different.fields).collect::<Vec<_>>()
    };
    let downgrade = |event: &mut Value| {
        event["schema_version"] = 1.into();
        event["schedule"].as_object_mut().unwrap().remove("expect");
        event.as_object_mut().unwrap().remove("state");
    };
    let none: [&str; 0] = [];

    assert_eq!(different(downgrade), none);
    let without_state = different(|event| {
        event.as_object_mut().unwrap().remove("state");
    });
    assert_eq!(without_state, ["state"]);
    let mut relabelled = different(|event| event["schema_version"] = 1.into());
    relabelled.sort();
    assert_eq!(relabelled, ["schedule.expect", "schedule.expect", "state"]);
}

#[test]
fn a_run_without_time_says_where_to_resume_and_finds_nothing() {
    let verification = verify_with(honest(&[one(None)]), LIMITS, Duration::ZERO);

    assert!(!verification.complete);
    assert_eq!(verification.resume, Some(start()));
    assert_eq!(verification.findings.checked, 0);
}

#[test]
fn lists_are_bounded_and_counts_are_not() {
    let stories = vec![one(Some(EventType::Applied)); 1_200];
    let mut memory = honest(&stories);
    memory.log.retain(|(_, message)| !message.contains("flag_schedule.applied"));
    let limits = Limits { slice: 100, page: 50, candidates: 150, ..LIMITS };

    let findings = verify_with(memory, limits, Duration::from_secs(60)).findings;

    assert_eq!((findings.missing_count, findings.missing.len()), (1_200, 1_000));
    assert_eq!((findings.unknown_count, findings.different_count), (0, 0));
}

#[test]
fn what_a_forged_event_makes_a_finding_say_is_bounded() {
    let mut memory = honest(&[one(None)]);
    let (at, message) = memory.log[0].clone();
    let mut forged: Value = serde_json::from_str(&message).unwrap();
    forged["flag_key"] = "k".repeat(10_000).into();
    for n in 0..100 {
        forged[format!("{n:03}{}", "x".repeat(10_000))] = n.into();
    }
    memory.log.push((at, forged.to_string()));

    let findings = verify(memory).findings;

    assert_eq!(findings.different_count, 1);
    let different = &findings.different[0];
    assert_eq!(different.facts.flag_key, Some("k".repeat(100)));
    assert_eq!(different.fields.len(), 30);
    assert!(different.fields.iter().all(|field| field.len() <= 100), "{:?}", different.fields);
}
