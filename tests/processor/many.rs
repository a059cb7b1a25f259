//! Ten thousand due at once, in one tick and in the memory that the function has.

use std::time::Duration;

use harness::api::Api;
use harness::cloudwatch::CloudWatch;
use serde_json::json;
use uuid::Uuid;

use super::crowd::{assert_done_in_order, fill};
use crate::support::text;

/// What the template gives each function, in KiB.
const MEMORY: u64 = 128 * 1024;
const FLAGS: i32 = 2_000;
const OF_EACH: i32 = 5;

/// Holds the most memory that a function has had against what it may have; on Linux only.
async fn assert_within_memory(api: &Api, function: &str) {
    if let Some(peak) = api.function(function).await.peak_memory_kib() {
        assert!(peak < MEMORY, "{function} has used {peak} KiB of {MEMORY} KiB");
    }
}

/// The service with ten thousand due, whose processor has the time that the template gives it.
async fn start(cloudwatch: &CloudWatch) -> Api {
    let setup = Api::with().cloudwatch(cloudwatch);
    let setup = setup.launch("schedule-processor", |launch| launch.timeout(Duration::from_secs(55)));
    let api = setup.start().await;
    fill(&api.database.connect().await, FLAGS, OF_EACH).await;
    api
}

#[tokio::test]
async fn ten_thousand_due_at_once_are_done_by_one_tick_within_the_functions_memory() {
    let cloudwatch = CloudWatch::start().await;
    let api = start(&cloudwatch).await;

    let report = api.tick().await.value();

    assert_eq!(report["applied"], FLAGS * OF_EACH, "{report:#}");
    assert_eq!(report["audit_delivered"], FLAGS * OF_EACH, "{report:#}");
    assert_within_memory(&api, "schedule-processor").await;
    assert_done_in_order(&api, &[]).await;
}

#[tokio::test]
async fn one_poisoned_among_ten_thousand_fails_alone_within_the_functions_memory() {
    let cloudwatch = CloudWatch::start().await;
    let api = start(&cloudwatch).await;
    let client = api.database.connect().await;
    // The middle one of its flag: there is something before it and something after it.
    let sql = "select s.id from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
        where f.flag_key = 'flag-1234' order by s.scheduled_at offset 2 limit 1";
    let poisoned: Uuid = client.query_one(sql, &[]).await.unwrap().get(0);
    let sql = format!(
        "create function refuse() returns trigger language plpgsql as $$
         begin
             if new.id = '{poisoned}' and new.status = 'applied' then raise exception 'not this one'; end if;
             return new;
         end $$;
         create trigger refuse before update on feature_flag_schedules
             for each row execute function refuse();"
    );
    client.batch_execute(&sql).await.unwrap();

    let report = api.tick().await.value();

    assert_eq!(report["applied"], FLAGS * OF_EACH - 1, "{report:#}");
    assert_eq!(report["failed_rejected_by_database"], 1, "{report:#}");
    assert_within_memory(&api, "schedule-processor").await;
    let events = assert_done_in_order(&api, &[poisoned]).await;
    let event = events.iter().find(|event| event["schedule_id"] == json!(poisoned)).unwrap();
    assert_eq!(event["error"]["code"], "rejected_by_database");
    assert!(text(&event["error"], "message").contains("not this one"), "{event:#}");
}

#[tokio::test]
async fn pages_of_two_hundred_large_schedules_fit_into_the_functions_memory() {
    let api = Api::start().await;
    let client = api.database.connect().await;
    fill(&client, 1, 200).await;
    let sql =
        "update feature_flag_schedules set reason = repeat('👩', 500), error_message = repeat('x', 10000)";
    client.execute(sql, &[]).await.unwrap();

    for _ in 0..10 {
        let listed = api.list(&api.admin(), "flag-1", "limit=200").await;
        assert_eq!(listed.status, 200, "{}", listed.text);
        assert_eq!(listed.json["schedules"].as_array().map(Vec::len), Some(200));
    }

    assert_within_memory(&api, "list-schedules").await;
}
