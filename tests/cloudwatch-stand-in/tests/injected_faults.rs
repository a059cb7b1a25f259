//! Each fault does what it says, for as many calls as it was asked for.

use std::time::Duration;

use cloudwatch_stand_in::limits::Rejected;
use cloudwatch_stand_in::{Call, Fault, Outcome};
use futures_util::FutureExt;
use serde_json::json;

use super::{Bench, now, text};

fn outcomes(bench: &Bench) -> Vec<Outcome> {
    bench.cloudwatch.puts().into_iter().map(|call| call.outcome).collect()
}

#[tokio::test]
async fn a_refusal_has_its_status_and_type_and_stores_nothing() {
    let bench = Bench::start().await;

    for (fault, status, error_type) in [
        (Fault::THROTTLE, "400", "ThrottlingException"),
        (Fault::UNAVAILABLE, "503", "ServiceUnavailableException"),
        (Fault::INTERNAL, "500", "InternalFailure"),
        (Fault::DENY, "400", "AccessDeniedException"),
        (Fault::EXPIRE, "400", "ExpiredTokenException"),
    ] {
        bench.cloudwatch.next(1, fault);
        let error = bench.put([(now(), text("a"))]).await.unwrap_err().to_string();
        assert!(error.contains(status) && error.contains(error_type), "{error}");
    }

    assert_eq!(bench.stored(), Vec::<String>::new());
    bench.put([(now(), text("b"))]).await.unwrap();
    assert_eq!(bench.stored(), ["b"], "each fault was for one call");
}

#[tokio::test]
async fn faults_come_in_their_order_and_the_lasting_one_until_it_is_healed() {
    let bench = Bench::start().await;
    bench.cloudwatch.from_now_on(Fault::INTERNAL);
    bench.cloudwatch.next(2, Fault::THROTTLE);
    bench.cloudwatch.next(1, Fault::DENY);

    for _ in 0..5 {
        bench.put([(now(), text("a"))]).await.unwrap_err();
    }
    bench.cloudwatch.heal();
    bench.put([(now(), text("b"))]).await.unwrap();

    let refused = |error_type: &str| Outcome::Refused(text(error_type));
    let expected = [
        refused("ThrottlingException"),
        refused("ThrottlingException"),
        refused("AccessDeniedException"),
        refused("InternalFailure"),
        refused("InternalFailure"),
        Outcome::Done(Rejected::default()),
    ];
    assert_eq!(outcomes(&bench), expected);
}

#[tokio::test]
async fn a_cut_comes_before_or_after_storing() {
    let bench = Bench::start().await;
    bench.cloudwatch.next(1, Fault::Cut);
    bench.cloudwatch.next(1, Fault::StoreThenCut);

    let before = bench.put([(now(), text("a"))]).await.unwrap_err().to_string();
    let after = bench.put([(now(), text("b"))]).await.unwrap_err().to_string();

    assert!(before.contains("no answer") && after.contains("no answer"), "{before}; {after}");
    assert_eq!(bench.stored(), ["b"]);
    assert_eq!(outcomes(&bench), [Outcome::Cut, Outcome::Cut]);
}

#[tokio::test]
async fn silence_comes_before_or_after_storing_and_lasts_until_the_caller_gives_up() {
    let bench = Bench::start().await;
    bench.cloudwatch.next(1, Fault::Silence);
    bench.cloudwatch.next(1, Fault::StoreThenSilence);

    for message in ["a", "b"] {
        let mut waiting = Box::pin(bench.put([(now(), text(message))]));
        let open = |calls: &[Call]| calls.last().is_some_and(|call| call.outcome == Outcome::Open);
        tokio::select! {
            answer = &mut waiting => panic!("answered: {answer:?}"),
            _ = bench.cloudwatch.wait_for_puts(open) => {}
        }
        assert!(waiting.as_mut().now_or_never().is_none(), "still no answer");
        bench.cloudwatch.heal();
        assert!(waiting.as_mut().now_or_never().is_none(), "what is not answered is never answered");
        bench.cloudwatch.next(1, Fault::StoreThenSilence);
        bench.cloudwatch.cut_connections();
        waiting.await.unwrap_err();
    }

    let abandoned =
        |calls: &[Call]| calls.len() == 2 && calls.iter().all(|call| call.outcome == Outcome::Abandoned);
    bench.cloudwatch.wait_for_puts(abandoned).await;
    assert_eq!(bench.stored(), ["b"]);
}

#[tokio::test]
async fn a_late_answer_is_to_what_was_stored_at_once() {
    let bench = Bench::start().await;
    bench.cloudwatch.slow_down(Duration::from_secs(3600));

    let mut waiting = Box::pin(bench.put([(now(), text("a"))]));
    tokio::select! {
        answer = &mut waiting => panic!("answered: {answer:?}"),
        _ = bench.cloudwatch.wait_for_puts(|calls| !calls.is_empty()) => {}
    }

    assert_eq!(bench.stored(), ["a"]);
}

#[tokio::test]
async fn poison_refuses_the_batches_that_hold_it_and_no_others() {
    let bench = Bench::start().await;
    bench.cloudwatch.from_now_on(Fault::Poison("bad"));

    let error = bench.put([(now(), text("a")), (now(), text("is bad"))]).await.unwrap_err().to_string();
    bench.put([(now(), text("b"))]).await.unwrap();

    assert!(error.contains("InvalidParameterException"), "{error}");
    assert_eq!(bench.stored(), ["b"]);
    bench.cloudwatch.assert_all_legal();
}

#[tokio::test]
async fn chosen_indexes_are_left_out_and_told() {
    let bench = Bench::start().await;
    let rejected = Rejected { too_old_end: Some(1), expired_end: None, too_new_start: Some(3) };
    bench.cloudwatch.next(1, Fault::Reject(rejected));

    let answer = bench.put(["a", "b", "c", "d"].map(|message| (now(), text(message)))).await.unwrap();

    let info = json!({ "tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 3 });
    assert_eq!(answer["rejectedLogEventsInfo"], info);
    assert_eq!(bench.stored(), ["b", "c"]);
}

#[tokio::test]
async fn garbage_is_answered_with_its_status() {
    let bench = Bench::start().await;
    bench.cloudwatch.next(1, Fault::Garbage(200, "<html>"));

    let error = bench.put([(now(), text("a"))]).await.unwrap_err().to_string();

    assert!(error.contains("not JSON"), "{error}");
    assert_eq!(bench.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn a_denied_action_is_denied_until_healed() {
    let bench = Bench::start().await;
    bench.cloudwatch.deny("CreateLogStream");
    let stream = json!({ "logGroupName": "g", "logStreamName": "new" });

    let error = bench.logs.call("CreateLogStream", stream.clone()).await.unwrap_err().to_string();
    assert!(error.contains("AccessDeniedException"), "{error}");
    bench.cloudwatch.heal();
    bench.logs.call("CreateLogStream", stream).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_can_be_read_page_by_page() {
    let bench = Bench::start().await;
    let group = cloudwatch_stand_in::LogGroup::create(bench.logs.clone(), "h", &["s"]).await.unwrap();
    bench.put([(now(), text("elsewhere"))]).await.unwrap();
    for page in 0..3 {
        let events = (0..7_000).map(|index| (now(), format!("{{\"index\":{}}}", page * 7_000 + index)));
        let mut events: Vec<(i64, String)> = events.collect();
        events.sort_by_key(|event| event.0);
        bench.put_to("h", "s", events).await.unwrap();
    }

    let events = group.events().await.unwrap();

    let indexes: Vec<u64> = events.iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..21_000).collect::<Vec<u64>>());
}
