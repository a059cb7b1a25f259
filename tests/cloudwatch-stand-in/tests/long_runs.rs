//! A long run takes out what is stored, and nothing is lost on the way.

use cloudwatch_stand_in::Fault;

use super::{Bench, now, text};

#[tokio::test]
async fn taken_events_are_handed_out_once_and_their_calls_forgotten() {
    let bench = Bench::start().await;
    bench.put([(now(), text("a")), (now(), text("b"))]).await.unwrap();

    let taken = bench.cloudwatch.take_stored();
    bench.put([(now(), text("c"))]).await.unwrap();

    assert_eq!(taken.iter().map(|event| &*event.message).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(bench.stored(), ["c"]);
    assert_eq!(bench.cloudwatch.puts().len(), 1);
}

#[tokio::test]
async fn an_open_call_gets_its_end_after_others_were_forgotten() {
    let bench = Bench::start().await;
    bench.put([(now(), text("a"))]).await.unwrap();
    bench.cloudwatch.next(1, Fault::StoreThenSilence);
    let mut hanging = Box::pin(bench.put([(now(), text("b"))]));
    tokio::select! {
        _ = &mut hanging => panic!("it is never answered"),
        _ = bench.cloudwatch.wait_for_puts(|puts| puts.len() == 2) => {}
    }

    let taken = bench.cloudwatch.take_stored();
    let open = bench.cloudwatch.puts();
    drop(hanging);
    let ended = bench.cloudwatch.wait_for_puts(|puts| puts.iter().all(|put| put.ended.is_some())).await;

    assert_eq!((taken.len(), open.len(), ended.len()), (2, 1, 1));
}

#[tokio::test]
#[should_panic = "illegal calls"]
async fn an_illegal_call_is_not_forgotten() {
    let bench = Bench::start().await;
    bench.put([]).await.unwrap_err();

    bench.cloudwatch.take_stored();

    bench.cloudwatch.assert_all_legal();
}
