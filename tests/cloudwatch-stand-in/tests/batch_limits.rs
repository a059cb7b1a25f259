//! Each documented limit, at the boundary and one beyond.

use chrono::DateTime;
use cloudwatch_stand_in::Outcome;
use cloudwatch_stand_in::limits::{DAY_MS, MAX_AGE_MS, MAX_AHEAD_MS, MAX_BYTES, MAX_EVENTS, MAX_SPAN_MS};
use serde_json::{Value, json};

use super::{Bench, now, text};

/// Some time to stop the clock at.
const NOON: i64 = 1_772_000_000_000;

async fn refused(bench: &Bench, events: Vec<(i64, String)>, why: &str) {
    let error = bench.put(events).await.unwrap_err().to_string();

    assert!(error.contains("InvalidParameterException") && error.contains(why), "{error}");
    assert_eq!(bench.stored(), Vec::<String>::new());
    let puts = bench.cloudwatch.puts();
    assert_eq!(puts[0].outcome, Outcome::Refused(text("InvalidParameterException")));
    assert!(puts[0].illegal.as_deref().is_some_and(|illegal| illegal.contains(why)), "{puts:#?}");
}

async fn taken(events: Vec<(i64, String)>) {
    let bench = Bench::start().await;

    let answer = bench.put(events.clone()).await.unwrap();

    assert_eq!(answer["rejectedLogEventsInfo"], Value::Null);
    assert_eq!(bench.stored().len(), events.len());
    bench.cloudwatch.assert_all_legal();
}

#[tokio::test]
async fn ten_thousand_events_are_taken_and_one_more_is_not() {
    let events = |count: usize| vec![(now(), text("x")); count];

    taken(events(MAX_EVENTS)).await;
    refused(&Bench::start().await, events(MAX_EVENTS + 1), "10001 events").await;
    refused(&Bench::start().await, events(0), "0 events").await;
}

#[tokio::test]
async fn the_bytes_of_a_batch_are_counted_in_utf_8_with_26_for_each_event() {
    // A character of two bytes.
    let half = (MAX_BYTES / 2 - 26) / 2;
    let of = |characters: usize, more: &str| (now(), format!("{}{more}", "é".repeat(characters)));

    taken(vec![of(half, ""), of(half, "")]).await;
    refused(&Bench::start().await, vec![of(half, ""), of(half, "x")], "1048577 bytes").await;
}

#[tokio::test]
async fn an_event_of_a_megabyte_less_26_bytes_is_taken_and_one_byte_more_is_not() {
    taken(vec![(now(), "x".repeat(MAX_BYTES - 26))]).await;
    refused(&Bench::start().await, vec![(now(), "x".repeat(MAX_BYTES - 25))], "event too large").await;
}

#[tokio::test]
async fn equal_times_are_in_order_and_a_millisecond_back_is_not() {
    let at = now();

    taken(vec![(at, text("a")), (at, text("b"))]).await;
    refused(&Bench::start().await, vec![(at, text("a")), (at - 1, text("b"))], "order").await;
}

#[tokio::test]
async fn a_batch_may_span_24_hours_and_no_millisecond_more() {
    let first = now() - MAX_SPAN_MS - 60_000;

    taken(vec![(first, text("a")), (first + MAX_SPAN_MS, text("b"))]).await;
    refused(
        &Bench::start().await,
        vec![(first, text("a")), (first + MAX_SPAN_MS + 1, text("b"))],
        "24 hours",
    )
    .await;
}

#[tokio::test]
async fn an_empty_message_is_refused() {
    taken(vec![(now(), text(" "))]).await;
    refused(&Bench::start().await, vec![(now(), text("a")), (now(), text(""))], "event 1 is empty").await;
}

#[tokio::test]
async fn events_more_than_14_days_old_are_left_out_by_their_exclusive_end() {
    let bench = Bench::start().await;
    bench.cloudwatch.stop_clock(DateTime::from_timestamp_millis(NOON).unwrap());
    let oldest = NOON - MAX_AGE_MS;

    let answer = bench
        .put([(oldest - 2, text("a")), (oldest - 1, text("b")), (oldest, text("c")), (oldest + 1, text("d"))])
        .await
        .unwrap();

    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "tooOldLogEventEndIndex": 2 }));
    assert_eq!(bench.stored(), ["c", "d"]);
    bench.cloudwatch.assert_all_legal();
}

#[tokio::test]
async fn events_more_than_two_hours_ahead_are_left_out_by_their_inclusive_start() {
    let bench = Bench::start().await;
    bench.cloudwatch.stop_clock(DateTime::from_timestamp_millis(NOON).unwrap());
    let latest = NOON + MAX_AHEAD_MS;

    let answer =
        bench.put([(latest - 1, text("a")), (latest, text("b")), (latest + 1, text("c"))]).await.unwrap();

    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "tooNewLogEventStartIndex": 2 }));
    assert_eq!(bench.stored(), ["a", "b"]);
}

#[tokio::test]
async fn events_older_than_the_group_keeps_them_are_left_out_by_an_end_of_their_own() {
    let bench = Bench::start().await;
    bench.cloudwatch.stop_clock(DateTime::from_timestamp_millis(NOON).unwrap());
    let retention = json!({ "logGroupName": "g", "retentionInDays": 1 });
    bench.logs.call("PutRetentionPolicy", retention).await.unwrap();
    let kept = NOON - DAY_MS;

    let answer = bench.put([(kept - 1, text("a")), (kept, text("b"))]).await.unwrap();

    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "expiredLogEventEndIndex": 1 }));
    assert_eq!(bench.stored(), ["b"]);
}

#[tokio::test]
async fn a_missing_group_or_stream_is_told_and_not_held_against_the_caller() {
    let bench = Bench::start().await;

    for (group, stream) in [("nowhere", "s"), ("g", "nowhere")] {
        let error = bench.put_to(group, stream, [(now(), text("a"))]).await.unwrap_err().to_string();
        assert!(error.contains("ResourceNotFoundException"), "{error}");
    }

    bench.cloudwatch.assert_all_legal();
    let stream = json!({ "logGroupName": "g", "logStreamName": "nowhere" });
    bench.logs.call("CreateLogStream", stream.clone()).await.unwrap();
    bench.put_to("g", "nowhere", [(now(), text("a"))]).await.unwrap();
    let error = bench.logs.call("CreateLogStream", stream).await.unwrap_err().to_string();
    assert!(error.contains("ResourceAlreadyExistsException"), "{error}");
}

#[tokio::test]
#[should_panic(expected = "illegal calls")]
async fn an_illegal_call_is_noticed_even_when_it_was_made_to_fail_anyway() {
    let bench = Bench::start().await;
    bench.cloudwatch.next(1, cloudwatch_stand_in::Fault::INTERNAL);
    bench.put([(now(), text(""))]).await.unwrap_err();

    bench.cloudwatch.assert_all_legal();
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused() {
    let bench = Bench::start().await;

    let field = json!({ "logGroupName": "g", "logStreamName": "s", "events": [] });
    let error = bench.logs.call("PutLogEvents", field).await.unwrap_err().to_string();
    assert!(error.contains("SerializationException"), "{error}");
    let error = bench.logs.call("PutLogs", json!({ "logGroupName": "g" })).await.unwrap_err().to_string();
    assert!(error.contains("SerializationException"), "{error}");

    let illegal = bench.cloudwatch.calls().iter().filter(|call| call.illegal.is_some()).count();
    assert_eq!(illegal, 2);
}
