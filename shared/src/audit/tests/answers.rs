//! A log that refuses, falls silent or is down: nothing is lost, little is copied, and nothing dies without proof.

use super::*;
use crate::domain::audit_event::AuditEvent;

/// What a log does with a batch.
type Log = fn(&[LogEvent]) -> Result<Vec<usize>, PutError>;

fn silent(_: &[LogEvent]) -> Result<Vec<usize>, PutError> {
    Err(PutError::Ambiguous("no answer".into()))
}

fn invalid(_: &[LogEvent]) -> Result<Vec<usize>, PutError> {
    Err(PutError::Invalid("InvalidParameterException".into()))
}

fn direct(reason: &str) -> AuditEvent {
    let schedule = Schedule { reason: Some(reason.to_owned()), ..schedule() };
    AuditEvent::of(EventId::new(), EventType::Created, context(EventType::Created), &schedule).unwrap()
}

#[tokio::test]
async fn a_log_that_accepts_nothing_kills_no_event() {
    let logs: [Log; 2] = [invalid, |batch| Ok((0..batch.len()).collect())];
    for (count, refuses) in [(1, logs[0]), (1, logs[1]), (300, logs[0]), (300, logs[1]), (4_000, logs[0])] {
        let bench = Bench::new(refuses);
        for _ in 0..count {
            bench.record(EventType::Created, schedule());
        }
        bench.trail.enqueue_direct_events(vec![direct("a"), direct("b")]);
        bench.age_all();

        let flushed = bench.flush().await;
        let swept = bench.sweep().await;

        assert_eq!((flushed.dead, swept.dead, bench.left().len()), (0, 0, count), "{count}");
        let calls = bench.log.calls.lock().unwrap().len();
        assert!(calls <= 500, "{calls} calls for {count} events");
        bench.then(take_all);
        let flushed = bench.flush().await;
        let swept = bench.sweep().await;
        assert_eq!(flushed.delivered + swept.delivered, count + 2, "{count}: all is delivered afterwards");
        assert_eq!(bench.delivered().len(), count + 2, "{count}");
    }
}

#[tokio::test]
async fn events_that_the_log_refuses_do_not_block_those_behind_them() {
    let bench = Bench::new(|batch| {
        let poison = batch.iter().any(|event| event.message.contains("poison"));
        if poison { Err(PutError::Invalid("InvalidParameterException".into())) } else { Ok(Vec::new()) }
    });
    for index in 0..1_010 {
        let reason = (index < 1_000).then(|| "poison".to_owned());
        bench.record(EventType::Created, Schedule { reason, ..schedule() });
    }
    bench.age_all();

    let counts = bench.sweep().await;

    assert_eq!(counts.delivered, 10);
    assert_eq!(counts.dead, 0, "nothing was accepted in the same send");
}

#[tokio::test]
async fn acceptable_events_among_many_that_are_not_are_found_wherever_they_are() {
    let poisonous: [fn(usize) -> bool; 4] =
        [|index| index % 2 == 0, |index| index % 2 == 1, |index| index < 480, |index| index >= 20];
    for is_poison in poisonous {
        let bench = Bench::new(|batch| {
            let poison = batch.iter().any(|event| event.message.contains("poison"));
            if poison { Err(PutError::Invalid("InvalidParameterException".into())) } else { Ok(Vec::new()) }
        });
        for index in 0..500 {
            let reason = is_poison(index).then(|| "poison".to_owned());
            bench.record(EventType::Created, Schedule { reason, ..schedule() });
        }
        bench.age_all();

        let counts = bench.sweep().await;

        let expected = (0..500).filter(|index| !is_poison(*index)).count();
        assert_eq!(counts, DeliveryCounts { held: 500, delivered: expected, dead: 500 - expected });
    }
}

#[tokio::test]
async fn after_events_that_may_be_stored_nothing_more_is_sent_in_the_same_invocation() {
    let bench = Bench::new(silent);
    bench.record(EventType::Created, schedule());
    bench.trail.enqueue_direct_events(vec![direct("a")]);
    bench.age_all();
    bench.trail.begin_invocation();

    for _ in 0..2 {
        bench.flush().await;
        bench.sweep().await;
    }

    assert_eq!(bench.log.calls.lock().unwrap().len(), 1);
    bench.then(take_all);
    bench.trail.begin_invocation();
    bench.flush().await;
    bench.sweep().await;
    assert_eq!(bench.delivered().len(), 2);
    assert!(bench.left().is_empty());
}

#[tokio::test]
async fn a_log_that_stores_direct_events_and_never_says_so_gets_few_copies() {
    let bench = Bench::new(silent);
    bench.trail.enqueue_direct_events(vec![direct("a")]);

    for _ in 0..20 {
        bench.trail.begin_invocation();
        bench.flush().await;
    }

    assert_eq!(bench.log.calls.lock().unwrap().len(), 3);
    bench.then(take_all);
    bench.trail.enqueue_direct_events(vec![direct("b")]);
    bench.trail.begin_invocation();
    assert_eq!(bench.flush().await.delivered, 1, "others do not wait for it");
}

#[tokio::test]
async fn direct_events_have_no_cap_and_keep_their_order() {
    let bench = Bench::new(down);
    bench.trail.enqueue_direct_events((0..25_000).map(|number| direct(&number.to_string())).collect());
    bench.record(EventType::Created, schedule());

    assert_eq!(bench.flush().await.delivered, 0);
    let mut calls = 0;
    bench.then(move |_| {
        calls += 1;
        if calls == 4 { Err(PutError::Unavailable("throttled".into())) } else { Ok(Vec::new()) }
    });
    bench.flush().await;
    bench.flush().await;
    bench.age_all();
    bench.sweep().await;

    let delivered = bench.delivered();
    assert_eq!(delivered.len(), 25_001);
    let reasons = delivered[..25_000].iter().map(|event| event["schedule"]["reason"].as_str().unwrap());
    assert!(reasons.eq((0..25_000).map(|number| number.to_string())), "in order, each once");
    assert!(bench.left().is_empty(), "what waited in the outbox is not forgotten");
}

#[tokio::test]
async fn a_direct_event_that_the_log_refuses_is_dropped_only_if_another_one_was_accepted() {
    let poison = |batch: &[LogEvent]| {
        let poison = batch.iter().any(|event| event.message.contains("poison"));
        if poison { Err(PutError::Invalid("InvalidParameterException".into())) } else { Ok(Vec::new()) }
    };
    let bench = Bench::new(poison);
    bench.trail.enqueue_direct_events(vec![direct("poison")]);

    assert_eq!(bench.flush().await.dead, 0);
    bench.trail.enqueue_direct_events(vec![direct("a"), direct(&"x".repeat(MAX_BYTES))]);
    let counts = bench.flush().await;

    assert_eq!((counts.delivered, counts.dead), (1, 2));
    assert_eq!(bench.flush().await.held, 0);
}

#[tokio::test]
async fn a_flush_that_panics_or_is_dropped_loses_no_direct_event() {
    let bench = Bench::new(|_| panic!("as the test wants it"));
    bench.trail.enqueue_direct_events(vec![direct("a"), direct("b")]);

    let panicked = std::panic::AssertUnwindSafe(bench.trail.flush(soon()));
    assert!(futures_util::FutureExt::catch_unwind(panicked).await.is_err());

    *bench.log.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Box::new(take_all);
    bench.log.script.clear_poison();
    bench.trail.begin_invocation();
    assert_eq!(bench.flush().await.delivered, 2);
}

#[tokio::test]
async fn an_event_from_before_1970_is_sent_with_the_time_of_sending_and_spoils_no_batch() {
    let bench = Bench::new(|batch| {
        let legal = batch.iter().all(|event| event.timestamp_ms >= 0);
        if legal { Ok(Vec::new()) } else { Err(PutError::Invalid("timestamp".into())) }
    });
    let created_at = Timestamp::parse("1960-01-01T00:00:00Z").unwrap();
    bench.record(EventType::Created, Schedule { created_at: Some(created_at), ..schedule() });
    bench.record(EventType::Created, schedule());

    assert_eq!(bench.flush().await.delivered, 2);
}
