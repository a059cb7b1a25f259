//! Batches within the limits of `PutLogEvents`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use std::ops::Range;

use crate::ports::audit_log::LogEvent;

/// Most events in one batch.
pub const MAX_EVENTS: usize = 10_000;
/// Most bytes in one batch, with [`EVENT_OVERHEAD`] for each event.
pub const MAX_BYTES: usize = 1_048_576;
/// Bytes counted for each event in addition to its message.
pub const EVENT_OVERHEAD: usize = 26;
/// Most milliseconds from the first to the last event of a batch: less than 24 hours.
pub const MAX_SPAN_MS: i64 = 24 * 60 * 60 * 1000 - 1;

/// The size of an event in a batch, in bytes.
#[must_use]
pub fn weight(event: &LogEvent) -> usize {
    event.message.len() + EVENT_OVERHEAD
}

/// Splits events, which must be ordered by time, into as few consecutive batches as the limits allow. An event that is
/// too large gets a batch of its own.
#[must_use]
pub fn batches(events: &[LogEvent]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        let weight = weight(event);
        let full = index - start == MAX_EVENTS
            || bytes + weight > MAX_BYTES
            || event.timestamp_ms - events[start].timestamp_ms > MAX_SPAN_MS;
        if full && index > start {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += weight;
    }
    if start < events.len() {
        batches.push(start..events.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(timestamp_ms: i64, bytes: usize) -> LogEvent {
        LogEvent { timestamp_ms, message: "x".repeat(bytes) }
    }

    fn legal(batch: &[LogEvent]) -> bool {
        let first = batch[0].timestamp_ms;
        batch.len() <= MAX_EVENTS
            && batch.iter().map(weight).sum::<usize>() <= MAX_BYTES
            && batch.windows(2).all(|pair| pair[0].timestamp_ms <= pair[1].timestamp_ms)
            && batch.iter().all(|event| event.timestamp_ms - first < 24 * 60 * 60 * 1000)
    }

    #[test]
    fn nothing_makes_no_batch() {
        assert_eq!(batches(&[]), Vec::<Range<usize>>::new());
    }

    #[test]
    fn ten_thousand_and_one_events_make_two() {
        let events = vec![event(0, 1); 10_001];

        assert_eq!(batches(&events), [0..10_000, 10_000..10_001]);
    }

    #[test]
    fn the_byte_limit_is_met_exactly() {
        let half = MAX_BYTES / 2 - EVENT_OVERHEAD;

        assert_eq!(batches(&[event(0, half), event(0, half)]).len(), 1);
        assert_eq!(batches(&[event(0, half), event(0, half + 1)]), [0..1, 1..2]);
    }

    #[test]
    fn a_day_apart_is_two_batches() {
        let day = 24 * 60 * 60 * 1000;

        assert_eq!(batches(&[event(0, 1), event(day - 1, 1)]).len(), 1);
        assert_eq!(batches(&[event(0, 1), event(day, 1)]), [0..1, 1..2]);
    }

    #[test]
    fn an_event_too_large_stands_alone() {
        let events = [event(0, 1), event(0, MAX_BYTES), event(0, 1)];

        assert_eq!(batches(&events), [0..1, 1..2, 2..3]);
    }

    proptest! {
        #[test]
        fn any_events_make_legal_batches_that_hold_each_event_once(
            gaps in proptest::collection::vec((0i64..7_200_000, 0usize..200_000), 0..120)
        ) {
            let mut time = 0;
            let events: Vec<_> = gaps
                .into_iter()
                .map(|(gap, bytes)| {
                    time += gap;
                    event(time, bytes)
                })
                .collect();

            let batches = batches(&events);

            prop_assert!(batches.iter().all(|range| legal(&events[range.clone()])));
            let covered: Vec<_> = batches.into_iter().flatten().collect();
            prop_assert_eq!(covered, (0..events.len()).collect::<Vec<_>>());
        }
    }
}
