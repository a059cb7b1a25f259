//! A tick over many due schedules, beside the same change written by hand: set-based SQL in one transaction, sent by a
//! bare client. Delivery to CloudWatch Logs is left out on both sides.

use std::time::{Duration, Instant};

use harness::api::{Api, tick_event};
use harness::database::Database;
use harness::lambda::{Function, Launch};
use tokio_postgres::Client;

use crate::series::median;
use crate::table::{Figure, Goal, Table};

/// More than one tick may have time for: measured once, after nothing to warm up, with the memory that the processor needs.
const MANY: usize = 100_000;

/// The rounds of a size: what is short is at the mercy of whatever else the machine does. Round 0 warms up.
fn rounds(size: usize) -> std::ops::RangeInclusive<usize> {
    if size > MANY {
        return 1..=1;
    }
    0..=if size > 1_000 { 3 } else { 21 }
}

/// A port where nobody listens: nothing is delivered.
const NOBODY: &str = "http://127.0.0.1:9";

/// What the service writes, by hand. The outbox rows have the bytes of the service's.
const FLOOR: &str = r#"
    begin;
    update feature_flags f set enabled = true, rollout_percentage = 25, updated_at = now()
    from feature_flag_schedules s
    where s.flag_id = f.id and s.status = 'pending' and s.scheduled_at <= now();
    with ended as (
        update feature_flag_schedules s set status = 'applied', applied_at = now(), updated_at = now()
        where s.status = 'pending' and s.scheduled_at <= now()
        returning s.*
    )
    insert into audit_outbox (event_id, event_type, context, schedule)
    select
        gen_random_uuid(),
        'flag_schedule.applied',
        '{"actor": {"name": "schedule-processor", "type": "system"},
          "change": {"after": {"enabled": true, "rollout_percentage": 25}, "before": {"enabled": false, "rollout_percentage": 0}},
          "request": {"request_id": "00000000-0000-0000-0000-000000000000"}}',
        jsonb_build_object(
            'id', s.id, 'reason', s.reason, 'status', s.status, 'flag_id', s.flag_id, 'updates', s.updates,
            'apply_by', s.apply_by, 'flag_key', f.flag_key, 'failed_at', s.failed_at, 'applied_at', s.applied_at,
            'created_at', s.created_at, 'created_by', s.created_by, 'error_code', s.error_code,
            'environment', f.environment, 'cancelled_at', s.cancelled_at, 'cancelled_by', s.cancelled_by,
            'scheduled_at', s.scheduled_at, 'expect', s.expect, 'cancel_reason', s.cancel_reason, 'error_message', s.error_message
        )
    from ended s
    join feature_flags f on f.id = s.flag_id;
    commit;"#;

/// Measures each size, service and floor in turn on one database.
pub async fn measure(table: &mut Table, sizes: &[usize]) {
    for &size in sizes {
        let api = Api::start().await;
        let client = api.database.connect().await;
        let processor = processor(&api).await;
        let (mut service, mut floor) = (Vec::new(), Vec::new());
        for round in rounds(size) {
            fill(&client, size).await;
            let applying = apply(&processor, size).await;

            fill(&client, size).await;
            let started = Instant::now();
            client.batch_execute(FLOOR).await.expect("the floor");
            let by_hand = started.elapsed();
            if round > 0 {
                service.push(applying);
                floor.push(by_hand);
            }
        }
        table.draw("due", f64::from(u32::try_from(size).expect("a few million")));
        table.draw_times("service", &[median(&service)]);
        table.draw_times("floor", &[median(&floor)]);
        table.compare(
            &format!("tick, {size} due on as many flags"),
            &service,
            ("SQL by hand", &floor),
            // Applying is told in whole milliseconds, too coarse below a thousand.
            (size >= 1_000).then_some(1.25),
        );
        if size > MANY {
            memory(table, &processor, &format!("{size} due"));
        }
    }
}

/// The processor with a database, and nobody who takes its events.
async fn processor(api: &Api) -> Function {
    Launch::of("schedule-processor")
        .env(api.env("schedule-processor").set("AWS_ENDPOINT_URL", NOBODY))
        .timeout(TIMEOUT)
        .start()
        .await
        .expect("the processor")
}

/// Applies what is due, which is this many schedules, in as many ticks as that takes: how long they took together.
async fn apply(processor: &Function, size: usize) -> Duration {
    let (mut applied, mut took) = (0, 0);
    while applied < size as u64 {
        let report = processor.invoke(&tick_event()).await.value();
        let some = report["applied"].as_u64().filter(|some| *some > 0);
        applied += some.unwrap_or_else(|| panic!("nothing was applied: {report:#}"));
        took += report["applying_ms"].as_u64().expect("a duration");
    }
    assert_eq!(applied, size as u64);
    Duration::from_millis(took)
}

/// The guards of the schema, which bind the processor's role: with them and without.
const WITHOUT_GUARDS: &str =
    "alter table feature_flag_schedules disable trigger user; alter table audit_outbox disable trigger user;
    alter table audit_outbox disable row level security";
const WITH_GUARDS: &str =
    "alter table feature_flag_schedules enable trigger user; alter table audit_outbox enable trigger user;
    alter table audit_outbox enable row level security";
/// How often: the difference is small.
const GUARD_ROUNDS: usize = 21;

/// Measures the same tick with and without the guards, alternately, as the deployment's role.
pub async fn measure_guards(table: &mut Table, size: usize) {
    let database = Database::migrated().await;
    database.grant_to_roles().await;
    let url = database.url();
    let api = Api::with().as_roles(&url).database(database).start().await;
    let client = api.database.connect().await;
    let processor = processor(&api).await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..=GUARD_ROUNDS {
        for (guards, durations) in [(WITH_GUARDS, &mut with), (WITHOUT_GUARDS, &mut without)] {
            client.batch_execute(guards).await.expect("the owner may");
            fill(&client, size).await;
            let applying = apply(&processor, size).await;
            // The first round warms up.
            if round > 0 {
                durations.push(applying);
            }
        }
    }
    let what = format!("tick, {size} due on as many flags, guarded");
    table.compare(&what, &with, ("without guards", &without), Some(1.1));
}

/// A quarter of the deployed function's memory limit.
const MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// The deployed function's time limit.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Due schedules of each flag of a wide backlog.
const EACH: usize = 100;

/// Measures backlogs of many flags with many due schedules each: the first tick, and the memory of all of them.
pub async fn measure_wide(table: &mut Table, sizes: &[usize]) {
    for &flags in sizes {
        let api = Api::start().await;
        let client = api.database.connect().await;
        let launch = Launch::of("schedule-processor")
            .env(api.env("schedule-processor").set("AWS_ENDPOINT_URL", NOBODY))
            .timeout(TIMEOUT)
            .freeze(false);
        let processor = launch.start().await.expect("the processor");
        let fill = format!(
            "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {flags}) n;
             insert into feature_flag_schedules (flag_id, scheduled_at, updates, reason, created_by)
             select id, now() - interval '1 second' * n, '{{\"enabled\": true}}', 'first users', 'admin-1'
             from feature_flags, generate_series(1, {EACH}) n;"
        );
        client.batch_execute(&fill).await.expect("the rows");
        client.batch_execute("vacuum analyze").await.expect("a vacuum");

        let mut ticks = Vec::new();
        loop {
            let report = processor.invoke(&tick_event()).await.value();
            ticks.push((report["applied"].as_u64().unwrap_or_default(), report["applying_ms"].clone()));
            if report["still_due"] == 0 {
                break;
            }
            assert_ne!(report["applied"], 0, "{report:#}");
        }

        let (applied, took) = &ticks[0];
        let took = Duration::from_millis(took.as_u64().expect("a duration"));
        let what = format!(
            "first tick, {flags} flags with {EACH} due each ({applied} applied, {} ticks)",
            ticks.len()
        );
        let rate = Figure::rate(usize::try_from(*applied).expect("a count"), "schedules", took);
        table.add(&what, rate, None, None);
        memory(table, &processor, &format!("{flags} flags with {EACH} due each"));
    }
}

fn memory(table: &mut Table, processor: &Function, with: &str) {
    let peak = Figure::size(processor.peak_memory_kib().unwrap_or_default() * 1024);
    let what = format!("memory of schedule-processor at most, {with}");
    table.add(&what, peak, None, Some(Goal::AtMost(Figure::size(MAX_MEMORY_BYTES))));
}

/// `size` flags with one due schedule each, and nothing else; fresh statistics, nothing left to vacuum.
async fn fill(client: &Client, size: usize) {
    client
        .batch_execute(&format!(
            "truncate feature_flags, feature_flag_schedules, audit_outbox;
             insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, {size}) n;
             insert into feature_flag_schedules (flag_id, scheduled_at, updates, reason, created_by)
             select id, now() - interval '1 second' * random() * 3600, '{{\"enabled\": true, \"rollout_percentage\": 25}}',
                 'first users', 'admin-1'
             from feature_flags;"
        ))
        .await
        .expect("the rows");
    client
        .batch_execute("vacuum analyze feature_flags, feature_flag_schedules, audit_outbox")
        .await
        .expect("a vacuum");
}
