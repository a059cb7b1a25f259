//! The rows of the load: what its thirds were like, and what became of the audit events.

use std::time::Duration;

use harness::lambda::Function;

use crate::arrivals::Comparison;
use crate::histogram::Histogram;
use crate::instances::INSTANCES;
use crate::table::{Figure, Goal, Table};

/// How much slower the last third may be, and how much more memory a process may take after the first one.
const SLOWER: f64 = 1.3;
const LARGER: f64 = 1.1;

/// What was measured in a third, and the most memory of a process until its end.
pub struct Third {
    pub took: Duration,
    /// How long callers waited.
    pub latencies: Histogram,
    pub memory: Figure,
    pub memory_of_processor: Figure,
}

/// The most memory that any of these has held.
pub fn peak<'a>(functions: impl IntoIterator<Item = &'a Function>) -> Figure {
    let kib = functions.into_iter().filter_map(Function::peak_memory_kib).max();
    Figure::size(kib.unwrap_or_default() * 1024)
}

/// Adds them.
pub fn add(table: &mut Table, length: Duration, thirds: &[Third; 3], events: &Comparison) {
    let [first, outage, last] = thirds;
    let load = format!("load of {INSTANCES} instances for {:.0} s", (length * 3).as_secs_f64());
    let after = |third: &Figure| Some((third.clone(), "after the first third"));

    for (when, third, slower) in [("CloudWatch Logs out", outage, None), ("last third", last, Some(SLOWER))] {
        let what = format!("{load}, {when}");
        let floor = |figure| Some((figure, "first third"));
        table.add(&what, third.rate(), floor(first.rate()), None);
        for percent in [50, 99] {
            let time = |third: &Third| Figure::time(third.latencies.percentile(percent));
            let what = format!("{what}, create p{percent}");
            table.add(&what, time(third), floor(time(first)), slower.map(Goal::Times));
        }
    }
    let what = format!("{load}, memory of create-schedule at most");
    table.add(&what, last.memory.clone(), after(&first.memory), Some(Goal::Times(LARGER)));
    let what = format!("{load}, memory of schedule-processor at most");
    let goal = Some(Goal::Times(LARGER));
    table.add(&what, last.memory_of_processor.clone(), after(&first.memory_of_processor), goal);

    let count = |count: i64| Figure::count(count.unsigned_abs());
    let transitions = Some((count(events.transitions), "schedules created and applied"));
    let delivered = count(events.transitions - events.lost);
    let goal = Some(Goal::AtLeastTimes(1.0));
    table.add(&format!("{load}, audit events delivered"), delivered, transitions, goal);
    table.add(&format!("{load}, audit events delivered again"), count(events.duplicates), None, None);
}

impl Third {
    fn rate(&self) -> Figure {
        let count = u32::try_from(self.latencies.count()).expect("fewer than four billion");
        Figure::throughput("creates", self.took / count)
    }
}
