//! Series of measurements, taken in turn.

use std::time::Duration;

/// Measures two sides in turn, so that whatever else the machine does meets both alike; every other time the second one
/// goes first. The first pair only warms up.
pub async fn in_turn(
    rounds: usize,
    mut one: impl AsyncFnMut() -> Duration,
    mut other: impl AsyncFnMut() -> Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    let (mut ones, mut others) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..=rounds {
        let pair = if round % 2 == 0 {
            let first = one().await;
            (first, other().await)
        } else {
            let first = other().await;
            (one().await, first)
        };
        if round > 0 {
            ones.push(pair.0);
            others.push(pair.1);
        }
    }
    (ones, others)
}

/// How often both sides are built anew in a series of short calls to the server: a new connection is a new process there,
/// and on which core that happens to run changes what a call takes for as long as it lives.
pub const CHAPTERS: usize = 20;

/// Builds both sides of a chapter, every other time the second one first: of two connections, the older one is served up to a
/// fifth faster, whatever it is asked.
pub async fn built_in_turn<A, B>(
    chapter: usize,
    one: impl AsyncFnOnce() -> A,
    other: impl AsyncFnOnce() -> B,
) -> (A, B) {
    if chapter.is_multiple_of(2) {
        let one = one().await;
        (one, other().await)
    } else {
        let other = other().await;
        (one().await, other)
    }
}

/// Two series of several chapters.
#[derive(Default)]
pub struct Pairs {
    /// The side that is measured.
    pub measured: Vec<Duration>,
    /// Its floor.
    pub floor: Vec<Duration>,
}

impl Pairs {
    /// Adds a chapter.
    pub fn add(&mut self, (measured, floor): (Vec<Duration>, Vec<Duration>)) {
        self.measured.extend(measured);
        self.floor.extend(floor);
    }
}

/// The median.
pub fn median(series: &[Duration]) -> Duration {
    percentile(series, 50)
}

/// The smallest duration that at least so many percent of the series do not exceed.
pub fn percentile(series: &[Duration], percent: usize) -> Duration {
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}
