//! Events that are in memory and in the outbox: the flush sends what it has, and leaves the rest to the sweep.

use super::*;
use crate::ports::clock::Clock;

#[tokio::test]
async fn with_the_outbox_unreachable_events_are_sent_from_memory_and_nothing_panics() {
    let bench = Bench::new(take_all);
    bench.record(EventType::Created, schedule());
    *bench.outbox.broken.lock().unwrap() = true;

    assert_eq!(bench.flush().await.delivered, 1);
    assert_eq!(bench.sweep().await, DeliveryCounts::default());

    assert_eq!(bench.delivered().len(), 1);
    assert_eq!(bench.left().len(), 1, "the sweep sends it again");
}

#[tokio::test]
async fn an_event_that_was_queued_long_ago_is_left_to_the_sweep() {
    for (seconds, delivered) in [(19, 1), (20, 0)] {
        let bench = Bench::new(take_all);
        bench.record(EventType::Created, schedule());
        let now = bench.clock.now().plus_millis(seconds * 1_000);
        *bench.clock.0.lock().unwrap() = now;

        assert_eq!(bench.flush().await.delivered, delivered, "after {seconds} s");
        assert_eq!(bench.left().len(), 1 - delivered);
    }
}

#[tokio::test]
async fn more_events_than_memory_keeps_are_left_to_the_sweep() {
    let bench = Bench::new(take_all);
    for _ in 0..2_500 {
        bench.record(EventType::Created, schedule());
    }

    assert_eq!(bench.flush().await.delivered, 1_000);
    bench.age_all();
    assert_eq!(bench.sweep().await.delivered, 1_500);
    assert!(bench.left().is_empty());
}
