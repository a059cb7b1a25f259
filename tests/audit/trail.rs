//! What the fault tests of this folder say: the outbox and the trail, and that they agree with what was committed.

use std::collections::{BTreeMap, BTreeSet};

use harness::api::{Api, Setup};
use harness::cloudwatch::{CloudWatch, Stored};
use harness::gateway::Response;
use harness::lambda::End;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{LIMIT, text, turn_on};

/// The flag of these tests.
pub const FLAG: &str = "new-checkout";

/// The service with a strict CloudWatch Logs, and the flag.
pub async fn start() -> (CloudWatch, Api) {
    start_with(|setup| setup).await
}

/// The same, differing from the usual.
pub async fn start_with(change: impl FnOnce(Setup) -> Setup) -> (CloudWatch, Api) {
    let cloudwatch = CloudWatch::start().await;
    let api = change(Api::with().cloudwatch(&cloudwatch)).start().await;
    api.flag(FLAG, "production").await;
    (cloudwatch, api)
}

/// How the last invocation of a function ended, once it has.
pub async fn end(api: &Api, function: &str) -> End {
    let settled = api.function(function).await.settled(LIMIT).await;
    settled.unwrap_or_else(|| panic!("{function} was not invoked")).end
}

/// A create that succeeds.
pub async fn create(api: &Api) -> Response {
    let created = api.create(&api.admin(), FLAG, "", &turn_on()).await;
    assert_eq!(created.status, 201, "{created:?}");
    created
}

/// Makes all that waits in the outbox old enough for the sweep, and runs a tick; gives its report.
pub async fn sweep(api: &Api) -> Value {
    age_outbox(api).await;
    api.tick().await.value()
}

/// Makes all that waits in the outbox old enough for the sweep.
pub async fn age_outbox(api: &Api) {
    run(api, "update audit_outbox set written_at = written_at - interval '1 minute'").await;
}

/// Statements, as the owner of the database.
pub async fn run(api: &Api, sql: &str) {
    api.database.connect().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Changes facts of a waiting event's schedule, as if the event had been written with them.
pub async fn alter(api: &Api, id: Uuid, facts: &Value) {
    let sql = "update audit_outbox set schedule = schedule || $2 where event_id = $1";
    let altered = api.database.connect().await.execute(sql, &[&id, facts]).await.unwrap();
    assert_eq!(altered, 1, "{id} does not wait");
}

/// The ids of what waits in the outbox, in the order in which it is to be delivered.
pub async fn waiting(api: &Api) -> Vec<Uuid> {
    let sql = "select event_id from audit_outbox where dead_at is null order by written_at, event_id";
    let rows = api.database.connect().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The dead events, with the reason of each.
pub async fn dead(api: &Api) -> Vec<(Uuid, String)> {
    let sql = "select event_id, dead_reason from audit_outbox where dead_at is not null order by event_id";
    let rows = api.database.connect().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Multiplies the one schedule that there is and the one event that waits: `count` more of both, written one
/// microsecond after the other. As if CloudWatch Logs had been down for as many creates.
pub async fn multiply(api: &Api, count: i32) {
    let sql = "
        with schedules as (
            insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, reason, created_by, created_at)
            select gen_random_uuid(), flag_id, scheduled_at, updates, reason, created_by, created_at
            from feature_flag_schedules, generate_series(1, $1)
            returning id
        ),
        numbered as (select id, row_number() over () as number from schedules)
        insert into audit_outbox (event_id, event_type, context, schedule, written_at)
        select
            -- A random UUID, made one of version 7.
            overlay(gen_random_uuid()::text placing '7' from 15 for 1)::uuid,
            event_type,
            context,
            schedule || jsonb_build_object('id', id),
            written_at + number * interval '1 microsecond'
        from audit_outbox, numbered";
    let client = api.database.connect_as_superuser().await;
    // No checks of foreign keys, one by one: they would be most of the work.
    client.batch_execute("set session_replication_role = replica").await.unwrap();
    let copied = client.execute(sql, &[&count]).await.unwrap();
    assert_eq!(copied, u64::try_from(count).unwrap(), "there is one event to copy");
}

/// The ids of stored events, in the order of their arrival.
pub fn ids(events: &[Value]) -> Vec<Uuid> {
    events.iter().map(|event| text(event, "event_id").parse().unwrap()).collect()
}

/// How often each event was stored.
pub fn copies(events: &[Value]) -> BTreeMap<Uuid, usize> {
    let mut copies = BTreeMap::new();
    ids(events).into_iter().for_each(|id| *copies.entry(id).or_default() += 1);
    copies
}

/// Invariants 1 and 2: once everything is at rest, the events in the trail, de-duplicated by their ids, are exactly the
/// committed changes, one each; only those that are dead in the outbox are not there. All calls were legal.
///
/// Gives the events in the order of their arrival, copies included; each was checked against the schema.
#[track_caller]
pub fn assert_exact<'a>(
    cloudwatch: &'a CloudWatch,
    api: &'a Api,
) -> impl Future<Output = Vec<Value>> + use<'a> {
    let caller = std::panic::Location::caller();
    async move {
        api.settle().await;
        cloudwatch.assert_all_legal();
        let stored = cloudwatch.stored();
        let events: Vec<Value> = stored.iter().map(Stored::json).collect();
        events.iter().for_each(harness::audit_events::assert_valid);

        let mut delivered: BTreeMap<Change, BTreeSet<Uuid>> = BTreeMap::new();
        for (event, id) in events.iter().zip(ids(&events)) {
            let change = (text(event, "schedule_id").parse().unwrap(), text(event, "event_type").to_owned());
            delivered.entry(change).or_default().insert(id);
        }
        for (change, ids) in &delivered {
            assert_eq!(ids.len(), 1, "{caller}: {change:?} has several event ids: {ids:?}");
        }
        let delivered: BTreeSet<Change> = delivered.into_keys().collect();
        let committed = committed(api).await;
        let missing: Vec<_> = committed.difference(&delivered).take(10).collect();
        let invented: Vec<_> = delivered.difference(&committed).take(10).collect();
        assert!(missing.is_empty(), "{caller}: committed, but not in the trail: {missing:#?}");
        assert!(invented.is_empty(), "{caller}: in the trail, but not committed: {invented:#?}");
        events
    }
}

/// A transition of a schedule.
type Change = (Uuid, String);

/// What was committed and is not dead.
async fn committed(api: &Api) -> BTreeSet<Change> {
    let sql = "
        select id, 'flag_schedule.created' from feature_flag_schedules
        union all
        select id, 'flag_schedule.' || status from feature_flag_schedules where status <> 'pending'
        except
        select (schedule ->> 'id')::uuid, event_type from audit_outbox where dead_at is not null";
    let rows = api.database.connect().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until the server has noticed the end of whoever was killed, and rolled back.
pub async fn no_transaction_is_open(api: &Api) {
    let none = async {
        let open = |states: Vec<String>| states.iter().any(|state| state.contains("transaction"));
        while open(api.database.connection_states().await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, none).await.expect("a transaction stays open after its owner was killed");
}
