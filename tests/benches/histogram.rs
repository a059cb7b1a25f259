//! Durations of a run as long as one likes, in little memory.

use std::collections::BTreeMap;
use std::time::Duration;

/// Bits of a duration that are kept: classes are less than one percent wide.
const BITS: u32 = 8;

/// How often there was which duration, in microseconds.
#[derive(Default)]
pub struct Histogram(BTreeMap<u128, u64>);

impl Histogram {
    pub fn add(&mut self, duration: Duration) {
        let micros = duration.as_micros();
        let insignificant = (u128::BITS - micros.leading_zeros()).saturating_sub(BITS);
        *self.0.entry(micros >> insignificant << insignificant).or_default() += 1;
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The smallest duration that at least so many percent do not exceed.
    ///
    /// # Panics
    /// When there is none.
    pub fn percentile(&self, percent: u64) -> Duration {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += *count;
            seen >= wanted
        });
        let (micros, _) = found.expect("there are durations");
        Duration::from_micros(u64::try_from(*micros).expect("less than a year"))
    }
}
