//! Randomised tests that can be played again: case number `n` is made from the seed `n`, and a failure names it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{iter, thread};

use harness::settings;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How many simpler cases are tried to explain a failure.
const SIMPLER: u32 = 300;

/// A randomised test, as a failure tells how to play it again.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The test's name.
    pub test: &'static str,
    /// What its variables begin with: `…_CASES` says how many cases are played, `…_MINUTES` for how long instead,
    /// `…_SEED` at which seed to begin.
    pub variables: &'static str,
}

impl Campaign {
    fn number(&self, what: &str) -> Option<u64> {
        let name = format!("{}_{what}", self.variables);
        settings::get(&name)
            .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
    }

    /// Plays as many cases as the variables say, or the usual number; gives that number. Several workers take turns:
    /// each plays the seeds it is given until there are no more, or one fails, which it returns.
    ///
    /// # Panics
    /// With the shortest failure.
    pub fn play<W>(&self, usual: u64, workers: usize, work: W) -> u64
    where
        W: Fn(&mut dyn Iterator<Item = u64>) -> Option<String> + Sync,
    {
        let first = self.number("SEED").unwrap_or(1);
        let minutes = self.number("MINUTES");
        let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        let cases = self.number("CASES").unwrap_or(if minutes.is_some() { u64::MAX / 2 } else { usual });
        let (next, played) = (AtomicU64::new(first), AtomicU64::new(0));
        let worker = || {
            let turn = || {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let more = seed < first + cases && end.is_none_or(|end| Instant::now() < end);
                played.fetch_add(more.into(), Ordering::Relaxed);
                more.then_some(seed)
            };
            let failure = work(&mut iter::from_fn(turn));
            if failure.is_some() {
                // The others need not go on.
                next.store(first + cases, Ordering::Relaxed);
            }
            failure
        };
        let failures: Vec<String> = thread::scope(|scope| {
            let workers = workers.min(usize::try_from(cases).unwrap_or(usize::MAX));
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect()
        });
        let shortest = failures.iter().min_by_key(|failure| failure.len());
        assert!(shortest.is_none(), "{}", shortest.unwrap());
        played.into_inner()
    }

    /// Tries the case of this seed and, if something is wrong with it, simpler ones; what was found.
    pub fn run<S: Strategy>(
        &self,
        seed: u64,
        strategy: &S,
        faults: impl Fn(&S::Value) -> Vec<String>,
    ) -> Option<String> {
        let config =
            Config { cases: 1, failure_persistence: None, max_shrink_iters: SIMPLER, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let case = strategy.new_tree(&mut TestRunner::new_with_rng(config.clone(), rng)).unwrap();
        let result = TestRunner::new(config).run_one(case, |case| match faults(&case) {
            found if found.is_empty() => Ok(()),
            found => Err(TestCaseError::fail(found.join("\n  "))),
        });
        let Self { test, variables } = self;
        match result {
            Ok(_) => None,
            Err(TestError::Abort(reason)) => Some(format!("case {seed} could not be played: {reason}")),
            Err(TestError::Fail(reason, simplest)) => Some(format!(
                "case {seed} fails; again:\n  {variables}_SEED={seed} {variables}_CASES=1 make test T={test}\n\
                 the simplest that was found:\n{simplest:#?}\nwhat is wrong with it:\n  {reason}"
            )),
        }
    }
}

/// SplitMix64, which a seed determines.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.roll(items.len() as u64)).unwrap()]
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const NUMBERS: Campaign = Campaign { test: "numbers", variables: "NUMBERS" };

    #[test]
    fn a_seed_always_makes_the_same_case() {
        let case = |seed| {
            let made = RefCell::new(0);
            NUMBERS.run(seed, &(0..u64::MAX), |number| {
                made.replace(*number);
                Vec::new()
            });
            made.into_inner()
        };

        assert_eq!(case(7), case(7));
        assert_ne!(case(7), case(8));
    }

    #[test]
    fn a_failure_is_told_with_its_seed_and_made_simple() {
        let failure = NUMBERS.run(7, &(0..u64::MAX), |number| {
            if *number >= 10 { vec![format!("{number} is too large")] } else { Vec::new() }
        });

        let failure = failure.unwrap();
        assert!(failure.contains("NUMBERS_SEED=7 NUMBERS_CASES=1 make test T=numbers"), "{failure}");
        assert!(failure.contains("10 is too large"), "{failure}");
    }

    #[test]
    fn a_panic_is_a_failure_too() {
        let failure = NUMBERS.run(7, &(0..u64::MAX), |number| panic!("{number} is no good"));

        assert!(failure.unwrap().contains("0 is no good"));
    }
}
