//! Two thousand histories, each the same whenever it is played: number `n` is made from the seed `n`.
//!
//! `MODEL_CASES` plays more of them, or `MODEL_MINUTES` as many as there is time for, and then says what happened in them;
//! `MODEL_SEED` begins at another: a failure names its seed and how to play it again.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::settings;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::comparison::differences;
use super::history::{History, histories};
use super::play::Play;
use super::reference::Model;
use super::world::World;

/// How many histories are played.
const CASES: u64 = 2_000;
/// How many at once, each on a database of its own.
const WORKERS: usize = 4;
/// How many simpler histories are tried to explain a failure.
const SIMPLER: u32 = 300;

fn number(name: &str) -> Option<u64> {
    settings::get(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// How much of everything has happened: histories in which nothing happens would agree with any model.
#[derive(Debug, Default)]
struct Tally {
    histories: AtomicU64,
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
        self.histories.fetch_add(1, Ordering::Relaxed);
        self.ticks.fetch_add(ticks().map(|ticks| ticks.processors as u64).sum(), Ordering::Relaxed);
        self.kills.fetch_add(ticks().map(|ticks| ticks.kills.len() as u64).sum(), Ordering::Relaxed);
        let ends = |fits: fn(&End) -> bool| {
            let ends = model.schedules.iter().filter_map(|schedule| schedule.end.as_ref());
            ends.filter(|end| fits(end)).count() as u64
        };
        self.applied.fetch_add(ends(|end| matches!(end, End::Applied(..))), Ordering::Relaxed);
        self.failed.fetch_add(ends(|end| matches!(end, End::Failed(_))), Ordering::Relaxed);
        self.cancelled.fetch_add(ends(|end| *end == End::Cancelled), Ordering::Relaxed);
        let deleted = model.flags.iter().filter(|flag| flag.deleted).count() as u64;
        self.deleted.fetch_add(deleted, Ordering::Relaxed);
    }

    fn counts(&self) -> [u64; 6] {
        [&self.ticks, &self.kills, &self.applied, &self.failed, &self.cancelled, &self.deleted]
            .map(|count| count.load(Ordering::Relaxed))
    }

    fn tell(&self) {
        let histories = self.histories.load(Ordering::Relaxed);
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
    let first = number("MODEL_SEED").unwrap_or(1);
    let minutes = number("MODEL_MINUTES");
    let cases = number("MODEL_CASES").unwrap_or(if minutes.is_some() { u64::MAX / 2 } else { CASES });
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let next = AtomicU64::new(first);
    let tally = Tally::default();

    let failures: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(usize::try_from(cases).unwrap()))
            .map(|_| scope.spawn(|| work(&next, first + cases, end, &tally)))
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect()
    });

    let shortest = failures.iter().min_by_key(|failure| failure.len());
    assert!(shortest.is_none(), "{}", shortest.unwrap());
    let played = tally.histories.load(Ordering::Relaxed);
    if played >= CASES {
        assert!(
            tally.counts().iter().all(|count| *count > played / 20),
            "hardly anything happened: {tally:?}"
        );
    }
    if cases != CASES {
        tally.tell();
    }
}

/// Plays one history after the other until there are no more, or one fails.
fn work(next: &AtomicU64, end: u64, deadline: Option<Instant>, tally: &Tally) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start(3));
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return None;
        }
        let failure = run(seed, |history| {
            let (model, mut found) = runtime.block_on(Play::of(&world, history));
            found.extend(runtime.block_on(differences(&world, &model)));
            tally.count(history, &model);
            found
        });
        if failure.is_some() {
            // The others need not go on.
            next.store(end, Ordering::Relaxed);
            return failure;
        }
    }
}

/// Tries the history of this seed and, if it fails, simpler ones.
fn run(seed: u64, differences: impl Fn(&History) -> Vec<String>) -> Option<String> {
    let config =
        Config { cases: 1, failure_persistence: None, max_shrink_iters: SIMPLER, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let case = histories().new_tree(&mut TestRunner::new_with_rng(config.clone(), rng)).unwrap();
    let result = TestRunner::new(config).run_one(case, |history| match differences(&history) {
        found if found.is_empty() => Ok(()),
        found => Err(TestCaseError::fail(found.join("\n  "))),
    });
    match result {
        Ok(_) => None,
        Err(TestError::Abort(reason)) => Some(format!("history {seed} could not be played: {reason}")),
        Err(TestError::Fail(reason, history)) => Some(format!(
            "a history comes out otherwise than the model says; again:\n  \
             MODEL_SEED={seed} MODEL_CASES=1 make test T=any_history_comes_out_as_the_model_says\n\
             the simplest that was found:\n{history:#?}\nits differences:\n  {reason}"
        )),
    }
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
