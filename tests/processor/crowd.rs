//! Many due schedules of many flags, and what must be true of them in the end.

use std::collections::BTreeMap;

use harness::api::Api;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::text;

/// Makes flags `flag-1`, `flag-2`, …, disabled and at 0 %, each with this many due schedules: the last to be stored is
/// the first to be applied, and each leaves the flag in another state than the one before.
pub async fn fill(client: &Client, flags: i32, schedules: i32) {
    let sql = format!(
        "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {flags}) n;
         insert into feature_flag_schedules (flag_id, scheduled_at, updates)
         select id, date_trunc('milliseconds', now()) - interval '1 second' * n,
             jsonb_build_object('enabled', n % 2 = 0, 'rollout_percentage', 100 - n % 100)
         from feature_flags, generate_series(1, {schedules}) n where flag_key like 'flag-%';
         analyze feature_flags, feature_flag_schedules"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// That no tick has left a trace: no schedule has ended, no flag has changed, no event waits.
pub async fn assert_untouched(client: &Client) {
    let sql = "select (select count(*) from feature_flag_schedules where status <> 'pending')
            + (select count(*) from feature_flags where enabled or rollout_percentage <> 0)
            + (select count(*) from audit_outbox)";
    assert_eq!(count(client, sql).await, 0, "schedules, flags and events that a tick has touched");
}

/// That every schedule has ended once, and that flags, schedules and events tell the same story: `failed` of them have
/// failed, all others were applied in the order of their times. Everything has been delivered, nothing twice.
pub async fn assert_done_in_order(api: &Api, failed: &[Uuid]) -> Vec<Value> {
    let client = api.database.connect().await;
    let mut events: BTreeMap<Uuid, Value> = BTreeMap::new();
    let told = api.events().await;
    for event in &told {
        let again = events.insert(text(event, "schedule_id").parse().unwrap(), event.clone());
        assert!(again.is_none(), "a second event of one schedule: {event:#} after {again:#?}");
    }
    let sql = "select f.flag_key, s.id, s.status, f.enabled, f.rollout_percentage
        from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
        order by f.flag_key, s.scheduled_at, s.created_at, s.id";
    let mut states: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let (flag, id, status): (String, Uuid, String) = (row.get(0), row.get(1), row.get(2));
        let event =
            events.remove(&id).unwrap_or_else(|| panic!("{id} of {flag} is {status} without an event"));
        let expected = if failed.contains(&id) { "failed" } else { "applied" };
        assert_eq!(status, expected, "{id} of {flag}");
        assert_eq!(event["event_type"], format!("flag_schedule.{expected}"), "{id} of {flag}");
        let state =
            |enabled: bool, percentage: i32| json!({"enabled": enabled, "rollout_percentage": percentage});
        let stands = state(row.get(3), row.get(4));
        let (current, _) = states.entry(flag.clone()).or_insert_with(|| (state(false, 0), stands));
        if expected == "applied" {
            assert_eq!(event["change"]["before"], *current, "{id} of {flag} was not applied in its turn");
            *current = event["change"]["after"].clone();
        }
    }
    assert!(events.is_empty(), "events of schedules that are not there: {events:#?}");
    for (flag, (current, stands)) in states {
        assert_eq!(stands, current, "{flag} stands as its last change left it");
    }
    assert_eq!(count(&client, "select count(*) from audit_outbox").await, 0, "events that still wait");
    told
}

/// One number.
pub async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
}
