//! Backlogs of any size: a tick's memory does not depend on them.

use std::time::Duration;

use harness::api::{Api, tick_event};
use harness::cloudwatch::CloudWatch;
use harness::settings;

use crate::processor::crowd::count;
use crate::support::LIMIT;

/// The most memory that the processor may have held, in KiB.
const PEAK_KIB: u64 = 96 * 1024;
/// Due schedules of each flag.
const EACH: i32 = 100;

/// How many flags: `SIZE_FLAGS=1700` for the backlog that was too much for the deployed size.
fn flags() -> i32 {
    settings::get("SIZE_FLAGS").map_or(300, |flags| flags.parse().unwrap())
}

#[tokio::test]
async fn a_backlog_of_many_flags_with_many_due_schedules_fits_into_the_memory() {
    let cloudwatch = CloudWatch::start().await;
    let setup = Api::with().cloudwatch(&cloudwatch);
    let api =
        setup.launch("schedule-processor", |launch| launch.timeout(Duration::from_secs(55))).start().await;
    let client = api.database.connect_as_superuser().await;
    let fill = format!(
        "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {}) n;
         insert into feature_flag_schedules (flag_id, scheduled_at, updates, reason)
         select id, now() - interval '1 second' * n, jsonb_build_object('enabled', n % 2 = 0), repeat('r', 200)
         from feature_flags, generate_series(1, {EACH}) n;
         analyze feature_flags, feature_flag_schedules",
        flags()
    );
    client.batch_execute(&fill).await.unwrap();
    let processor = api.function("schedule-processor").await;
    let all = i64::from(flags()) * i64::from(EACH);

    let mut applied = 0;
    while applied < all {
        let report = processor.invoke(&tick_event()).await.value();
        let now = report["applied"].as_i64().unwrap();
        let peak = processor.peak_memory_kib().unwrap_or_default();
        assert!(peak > 0 && peak <= PEAK_KIB, "the processor has held {peak} KiB: {report:#}");
        assert!(now == all - applied || now >= 50_000, "{now} of {} in one tick: {report:#}", all - applied);
        applied += now;
    }
    processor.settled(LIMIT).await;

    assert_eq!(
        count(&client, "select count(*) from feature_flag_schedules where status <> 'applied'").await,
        0
    );
}

#[tokio::test]
async fn without_the_outbox_every_event_of_a_large_batch_is_delivered() {
    let cloudwatch = CloudWatch::start().await;
    let setup = Api::with().cloudwatch(&cloudwatch);
    let api =
        setup.launch("schedule-processor", |launch| launch.timeout(Duration::from_secs(55))).start().await;
    let client = api.database.connect_as_superuser().await;
    let fill = "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, 120) n;
        insert into feature_flag_schedules (flag_id, scheduled_at, updates)
        select id, now() - interval '1 second' * n, '{\"enabled\": true}'
        from feature_flags, generate_series(1, 100) n;
        alter table audit_outbox rename to audit_outbox_away";
    client.batch_execute(fill).await.unwrap();

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 12_000, "{report:#}");
    let mut delivered: Vec<_> =
        cloudwatch.events().into_iter().map(|event| event["schedule_id"].to_string()).collect();
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered.len(), 12_000, "schedules with an event");
    cloudwatch.assert_all_legal();
}
