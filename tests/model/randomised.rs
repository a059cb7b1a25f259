//! Two thousand histories, each the same whenever it is played: number `n` is made from the seed `n`.
//!
//! `MODEL_CASES` plays more of them, or `MODEL_MINUTES` as many as there is time for, and then says what happened in them;
//! `MODEL_SEED` begins at another: a failure names its seed and how to play it again.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::comparison::differences;
use super::play::Play;
use super::recorded_history::{History, histories};
use super::reference::Model;
use super::world::World;
use crate::seeds::Campaign;

/// How many histories are played.
const CASES: u64 = 2_000;
/// How many at once, each on a database of its own.
const WORKERS: usize = 4;
const HISTORIES: Campaign = Campaign { test: "any_history_comes_out_as_the_model_says", variables: "MODEL" };

/// How much of everything has happened: histories in which nothing happens would agree with any model.
#[derive(Debug, Default)]
struct Tally {
    ticks: AtomicU64,
    kills: AtomicU64,
    applied: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    deleted: AtomicU64,
}

impl Tally {
    fn count(&self, history: &History, model: &Model) {
        use super::reference::End;
        let ticks = || history.rounds.iter().map(|round| &round.ticks);
        self.ticks.fetch_add(ticks().map(|ticks| ticks.processors as u64).sum(), Ordering::Relaxed);
        self.kills.fetch_add(ticks().map(|ticks| ticks.kills.len() as u64).sum(), Ordering::Relaxed);
        let ends = |fits: fn(&End) -> bool| {
            let ends = model.schedules.iter().filter_map(|schedule| schedule.end.as_ref());
            ends.filter(|end| fits(end)).count() as u64
        };
        self.applied.fetch_add(ends(|end| matches!(end, End::Applied(..))), Ordering::Relaxed);
        self.failed.fetch_add(ends(|end| matches!(end, End::Failed(..))), Ordering::Relaxed);
        self.cancelled.fetch_add(ends(|end| *end == End::Cancelled), Ordering::Relaxed);
        let deleted = model.flags.iter().filter(|flag| flag.deleted).count() as u64;
        self.deleted.fetch_add(deleted, Ordering::Relaxed);
    }

    fn counts(&self) -> [u64; 6] {
        [&self.ticks, &self.kills, &self.applied, &self.failed, &self.cancelled, &self.deleted]
            .map(|count| count.load(Ordering::Relaxed))
    }

    fn tell(&self, histories: u64) {
        let [ticks, kills, applied, failed, cancelled, deleted] = self.counts();
        // Straight to the terminal, past the capture of what tests print.
        let _ = writeln!(
            std::io::stderr(),
            "{histories} histories: {ticks} ticks with {kills} kills; {applied} schedules applied, {failed} failed, \
             {cancelled} cancelled; {deleted} flags deleted; no difference from the model"
        );
    }
}

#[test]
fn any_history_comes_out_as_the_model_says() {
    let tally = Tally::default();

    let played = HISTORIES.play(CASES, WORKERS, |seeds| work(seeds, &tally));

    if played >= CASES {
        assert!(
            tally.counts().iter().all(|count| *count > played / 20),
            "hardly anything happened: {tally:?}"
        );
    }
    if played != CASES {
        tally.tell(played);
    }
}

/// Plays one history after the other until there are no more, or one fails.
fn work(seeds: &mut dyn Iterator<Item = u64>, tally: &Tally) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start(3));
    for seed in seeds {
        let failure = run(seed, |history| {
            let (model, mut found) = runtime.block_on(Play::of(&world, history));
            found.extend(runtime.block_on(differences(&world, &model)));
            tally.count(history, &model);
            found
        });
        if failure.is_some() {
            return failure;
        }
    }
    None
}

/// Tries the history of this seed and, if it fails, simpler ones.
fn run(seed: u64, differences: impl Fn(&History) -> Vec<String>) -> Option<String> {
    HISTORIES.run(seed, &histories(), differences)
}

#[test]
fn a_seed_always_makes_the_same_history() {
    let history = |seed| {
        let made = std::cell::RefCell::new(String::new());
        run(seed, |history| {
            made.replace(format!("{history:?}"));
            Vec::new()
        });
        made.into_inner()
    };

    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn a_failure_is_told_with_its_seed_and_made_simple() {
    let failure = run(7, |history| {
        let schedules = history.rounds.iter().map(|round| round.schedules.len()).sum::<usize>();
        if schedules > 0 { vec!["a schedule".to_owned()] } else { Vec::new() }
    });

    let failure = failure.unwrap();
    assert!(failure.contains("MODEL_SEED=7 MODEL_CASES=1"), "{failure}");
    assert_eq!(failure.matches("Planned {").count(), 1, "{failure}");
}
