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
        let pair = alternately(round, &mut one, &mut other).await;
        if round > 0 {
            ones.push(pair.0);
            others.push(pair.1);
        }
    }
    (ones, others)
}

/// Both, every other time the second one first.
async fn alternately<A, B>(
    time: usize,
    one: impl AsyncFnOnce() -> A,
    other: impl AsyncFnOnce() -> B,
) -> (A, B) {
    if time.is_multiple_of(2) {
        let one = one().await;
        (one, other().await)
    } else {
        let other = other().await;
        (one().await, other)
    }
}

/// How often both sides are opened anew in a series of short calls to the server: a new connection is a new process there,
/// and on which core that happens to run changes what a call takes for as long as it lives.
pub const CHAPTERS: usize = 20;

/// Measures two sides in turn, in [`CHAPTERS`] with newly opened ones. They are opened in turn, too: of two connections, the
/// older one is served up to a fifth faster, whatever it is asked.
pub async fn in_chapters<A, B>(
    rounds: usize,
    open: (impl AsyncFn() -> A, impl AsyncFn() -> B),
    mut one: impl AsyncFnMut(&A) -> Duration,
    mut other: impl AsyncFnMut(&B) -> Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for chapter in 0..CHAPTERS {
        let (a, b) = alternately(chapter, &open.0, &open.1).await;
        let (some, some_others) = in_turn(rounds, async || one(&a).await, async || other(&b).await).await;
        ones.extend(some);
        others.extend(some_others);
    }
    (ones, others)
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
