//! A processor killed half way through a batch.

use harness::api::{Api, tick_event};
use harness::cloudwatch::CloudWatch;

use super::crowd::{assert_done_in_order, assert_untouched, fill};
use super::held::{Held, all_at_rest};

#[tokio::test]
async fn a_tick_killed_after_37_of_100_leaves_nothing_half_done_and_the_next_one_does_all() {
    let cloudwatch = CloudWatch::start().await;
    let api = Api::with().cloudwatch(&cloudwatch).start().await;
    let client = api.database.connect().await;
    fill(&client, 20, 5).await;
    let processor = api.function("schedule-processor").await;
    let held = Held::after(&api.database, 37).await;

    let meanwhile = async {
        held.up().await;
        let written = held.written().await;
        assert_untouched(&client).await;
        processor.kill();
        held.release().await;
        written
    };
    let tick = tick_event();
    let (killed, written) = tokio::join!(processor.invoke(&tick), meanwhile);
    all_at_rest(&client).await;

    assert_eq!(written, 37, "schedules written before the kill");
    assert_eq!(killed.error().error_type, "Runtime.ExitError");
    assert_untouched(&client).await;
    let next = api.tick().await.value();
    assert_eq!(next["applied"], 100, "{next:#}");
    assert_done_in_order(&api, &[]).await;
}
