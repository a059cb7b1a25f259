//! Histories: rounds of new schedules, of changes, and of ticks. Made by strategies, so that a failing one shrinks.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::audit_log::Mode;
use super::reference::{ApplyBy, State};

/// What happens.
#[derive(Clone, Debug)]
pub struct History {
    /// The flags, in their first state.
    pub flags: Vec<State>,
    /// One after the other.
    pub rounds: Vec<Round>,
}

/// Schedules are made; some of all that there are become due; some are cancelled; a flag may be deleted; ticks.
#[derive(Clone, Debug)]
pub struct Round {
    /// New schedules.
    pub schedules: Vec<Planned>,
    /// Of all schedules so far.
    pub cancelled: Vec<Index>,
    /// Of all flags.
    pub deleted: Option<Index>,
    /// The ticks that end the round.
    pub ticks: Ticks,
}

/// A schedule to be made.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Of all flags.
    pub flag: Index,
    /// Its random id, where it is not the service that makes it.
    pub id: u128,
    /// When it is due: few values, so that many are equal.
    pub scheduled_at: u64,
    /// When it was created: likewise.
    pub created_at: u64,
    /// Its limit.
    pub apply_by: ApplyBy,
    /// What it asks for.
    pub updates: Value,
    /// The state that it expects; null for any.
    pub expect: Value,
    /// Whether the service makes it, not another tool.
    pub by_service: bool,
    /// It becomes due this many rounds later.
    pub rounds_ahead: usize,
}

/// Ticks of several processors at once, and what happens meanwhile.
#[derive(Clone, Debug)]
pub struct Ticks {
    /// How many.
    pub processors: usize,
    /// After each of these times, in microseconds, one of their connections is killed.
    pub kills: Vec<u64>,
    /// One of all schedules is cancelled, after a time.
    pub cancelled: Option<(Index, u64)>,
    /// One of all flags is deleted, after a time.
    pub deleted: Option<(Index, u64)>,
    /// What the audit log does.
    pub log: Mode,
    /// Whether what was left in the outbox is old enough to be swept.
    pub sweeps: bool,
}

/// Any history.
pub fn histories() -> impl Strategy<Value = History> {
    let flags = prop::collection::vec((any::<bool>(), 0..=100_i64), 1..=4);
    (flags, prop::collection::vec(round(), 1..=3)).prop_map(|(flags, rounds)| History { flags, rounds })
}

fn round() -> impl Strategy<Value = Round> {
    // More than the processor takes of one flag at once, now and then.
    let schedules = prop_oneof![
        60 => prop::collection::vec(planned(), 0..=7),
        1 => prop::collection::vec(planned(), 150..=400),
    ];
    let cancelled = prop::collection::vec(any::<Index>(), 0..=2);
    (schedules, cancelled, prop::option::weighted(0.08, any::<Index>()), ticks())
        .prop_map(|(schedules, cancelled, deleted, ticks)| Round { schedules, cancelled, deleted, ticks })
}

fn planned() -> impl Strategy<Value = Planned> {
    let apply_by =
        prop_oneof![6 => Just(ApplyBy::Never), 1 => Just(ApplyBy::Past), 1 => Just(ApplyBy::Ahead)];
    let rounds_ahead = prop_oneof![4 => Just(0_usize), 1 => 1..=3_usize];
    let updates = prop_oneof![6 => good(), 1 => bad()];
    (
        any::<Index>(),
        any::<u128>().no_shrink(),
        0..4_u64,
        0..3_u64,
        (apply_by, expect()),
        updates,
        prop::bool::weighted(0.2),
        rounds_ahead,
    )
        .prop_map(
            |(flag, id, scheduled_at, created_at, limits, (valid, updates), by_service, rounds_ahead)| {
                let (apply_by, expect) = limits;
                Planned {
                    flag,
                    id,
                    scheduled_at,
                    created_at,
                    // Which of two reasons to fail comes first is nobody's promise.
                    apply_by: if valid { apply_by } else { ApplyBy::Never },
                    expect: if valid && apply_by != ApplyBy::Past { expect } else { Value::Null },
                    // The service does not take the others.
                    by_service: by_service && valid && updates.get("rolloutPercentage").is_none(),
                    updates,
                    rounds_ahead,
                }
            },
        )
}

/// Few values, so that they are often those of the flag.
fn expect() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(Value::Null),
        2 => any::<bool>().prop_map(|enabled| json!({ "enabled": enabled })),
        1 => (0..=4_i64).prop_map(|quarter| json!({ "rollout_percentage": quarter * 25 })),
    ]
}

fn good() -> impl Strategy<Value = (bool, Value)> {
    let percentage = || prop_oneof![0..=100_i64, (0..=4_i64).prop_map(|quarter| quarter * 25)];
    prop_oneof![
        any::<bool>().prop_map(|enabled| json!({ "enabled": enabled })),
        percentage().prop_map(|percentage| json!({ "rollout_percentage": percentage })),
        percentage().prop_map(|percentage| json!({ "rolloutPercentage": percentage })),
        (any::<bool>(), percentage())
            .prop_map(|(enabled, percentage)| json!({"enabled": enabled, "rollout_percentage": percentage})),
    ]
    .prop_map(|updates| (true, updates))
}

fn bad() -> impl Strategy<Value = (bool, Value)> {
    let bad = vec![
        json!("on"),
        json!(null),
        json!(7),
        json!([]),
        json!([{"enabled": true}]),
        json!({}),
        json!({"enabled": "yes"}),
        json!({"enabled": null}),
        json!({"enabled": true, "rollout_percentage": null}),
        json!({"rollout_percentage": 101}),
        json!({"rollout_percentage": -1}),
        json!({"rollout_percentage": 50.5}),
        json!({"rollout_percentage": "50"}),
        json!({"rollout_percentage": 1e300}),
        json!({"rollout_percentage": 5, "rolloutPercentage": 5}),
        json!({"enabled": true, "colour": "red"}),
    ];
    prop::sample::select(bad).prop_map(|updates| (false, updates))
}

fn ticks() -> impl Strategy<Value = Ticks> {
    let kills = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(0..9_000_u64, 1..=3)];
    let during = || (any::<Index>(), 0..6_000_u64);
    let log = prop_oneof![
        5 => Just(Mode::Takes),
        1 => Just(Mode::Down),
        1 => Just(Mode::LosesAnswers),
        1 => Just(Mode::RefusesTheFirst),
        1 => Just(Mode::TakesSingles),
    ];
    let cancelled = prop::option::weighted(0.3, during());
    let deleted = prop::option::weighted(0.05, during());
    (1..=3_usize, kills, cancelled, deleted, log, prop::bool::weighted(0.4)).prop_map(
        |(processors, kills, cancelled, deleted, log, sweeps)| Ticks {
            processors,
            kills,
            cancelled,
            deleted,
            log,
            sweeps,
        },
    )
}
