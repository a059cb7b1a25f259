//! A long history costs nothing: an idle tick and a create with many finished schedules in the table, beside the
//! same without any.

use std::time::Duration;

use flag_schedules::app::App;
use harness::api::{Api, create_request};
use serde_json::json;

use crate::inside;
use crate::series::in_chapters;
use crate::table::Table;

/// In each chapter.
const ROUNDS: usize = 25;
/// The flag of the creates, which has most of the history.
const FLAG: &str = "flag-1";

/// Flags, and the history over them: half of it on the first flag.
const FLAGS: &str = "insert into feature_flags (flag_key) select 'flag-' || n from generate_series(1, 20) n";
const HISTORY: &str = "
    insert into feature_flag_schedules
        (id, flag_id, scheduled_at, created_at, status, updates, created_by, applied_at, cancelled_at, cancelled_by, failed_at)
    select
        overlay(gen_random_uuid()::text placing '7' from 15 for 1)::uuid,
        f.id,
        now() - n * interval '30 seconds',
        now() - n * interval '30 seconds' - interval '1 day',
        s.status,
        '{\"enabled\": true, \"rollout_percentage\": 25}',
        'admin-1',
        case s.status when 'applied' then now() - n * interval '30 seconds' end,
        case s.status when 'cancelled' then now() - n * interval '30 seconds' end,
        case s.status when 'cancelled' then 'admin-1' end,
        case s.status when 'failed' then now() - n * interval '30 seconds' end
    from generate_series(1, $1::integer) n
    cross join lateral (
        select case n % 20 when 0 then 'failed' when 1 then 'cancelled' else 'applied' end as status
    ) s
    join feature_flags f on f.flag_key = 'flag-' || case when n % 2 = 0 then 1 else 2 + n / 2 % 19 end";

/// Measures both with so many finished schedules, and with none.
pub async fn measure(table: &mut Table, finished: u32) {
    let (short, long) = (service(0).await, service(finished).await);

    let open = (async || inside::processor(&long).await, async || inside::processor(&short).await);
    let ticks = in_chapters(ROUNDS, open, inside::tick, inside::tick).await;
    let open = (
        async || inside::connected("create-schedule", &long).await,
        async || inside::connected("create-schedule", &short).await,
    );
    let creates = in_chapters(
        ROUNDS,
        open,
        async |app| create(&long, app).await,
        async |app| create(&short, app).await,
    )
    .await;
    for (what, (measured, floor)) in [("idle tick", ticks), ("warm create", creates)] {
        let what = format!("{what}, {finished} finished schedules");
        table.compare(&what, &measured, ("none", &floor), Some(1.2));
    }
}

/// A service with so many finished schedules.
async fn service(finished: u32) -> Api {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    client.batch_execute(FLAGS).await.expect("the flags");
    let quiet = "alter table feature_flag_schedules set (autovacuum_enabled = off)";
    client.batch_execute(quiet).await.expect("a superuser may");
    // No checks of foreign keys, one by one: they would be most of the work.
    client.batch_execute("set session_replication_role = replica").await.expect("a superuser may");
    let finished = i32::try_from(finished).expect("a few million");
    client.execute(HISTORY, &[&finished]).await.expect("the history");
    client.batch_execute("vacuum analyze").await.expect("statistics");
    // Or the server would still be busy with the rows for a while.
    client.batch_execute("checkpoint").await.expect("a superuser may");
    api
}

async fn create(api: &Api, app: &App) -> Duration {
    let at = harness::clock::now() + chrono::TimeDelta::hours(1);
    let body = json!({"scheduled_at": at.to_rfc3339(), "updates": {"enabled": true}});
    let request = create_request(FLAG, "", &body).bearer(&api.admin());
    inside::timed(&request, 201, async |request| create_schedule::handle(app, request).await).await.1
}
