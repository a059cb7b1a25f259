//! Triggers that do something else than raise: wait, put back what was written, leave something behind in the session.

use std::time::Duration;

use harness::api::Api;
use harness::lambda::Outcome;
use tokio_postgres::Client;

use super::locked_rows::{ended, fill};
use crate::processor::crowd::count;
use crate::support::{LIMIT, of_type, text, turn_on};

/// A trigger before an update of a table's rows.
pub async fn before_update(client: &Client, table: &str, body: &str) {
    let sql = format!(
        "create or replace function meddle() returns trigger language plpgsql as $$begin {body} end$$;
         create trigger meddle before update on {table} for each row execute function meddle()"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn twenty_flags_that_wait_for_somebody_keep_no_other_from_being_applied_in_the_same_tick() {
    let setup = Api::with();
    let api =
        setup.launch("schedule-processor", |launch| launch.timeout(Duration::from_secs(55))).start().await;
    let client = api.database.connect_as_superuser().await;
    let somebody = api.database.connect().await;
    fill(&client, 120).await;
    client
        .batch_execute(
            "create table busy (n integer); insert into busy values (1); grant all on busy to public",
        )
        .await
        .unwrap();
    let body = "if substr(new.flag_key, 6)::int <= 20 then update busy set n = 1; end if; return new;";
    before_update(&client, "feature_flags", body).await;
    somebody.batch_execute("begin; update busy set n = 2").await.unwrap();

    let mut tick = api.tick().await;
    if matches!(&tick.outcome, Outcome::FunctionError(error) if error.error_type == "DatabaseUnavailable") {
        // A busy machine: not even an empty batch was stored in time, and nothing was changed.
        tick = api.tick().await;
    }

    let report = tick.value();
    assert_eq!((&report["applied"], &report["flags_left"]), (&100.into(), &20.into()), "{report:#}");
    somebody.batch_execute("rollback").await.unwrap();
    assert_eq!(api.tick().await.value()["applied"], 20);
}

#[tokio::test]
async fn a_schedule_that_a_trigger_keeps_pending_is_left_and_has_no_event() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, 5).await;
    let first = "(select id from feature_flags where flag_key = 'flag-1')";
    for body in [
        format!("if new.flag_id = {first} then new.status := 'pending'; end if; return new;"),
        format!(
            "if new.flag_id = {first} then new.applied_at := null; new.failed_at := null; end if; return new;"
        ),
    ] {
        before_update(&client, "feature_flag_schedules", &body).await;

        let outcome = api.tick().await.outcome;

        let due = "select count(*) from feature_flag_schedules where status = 'pending'";
        assert_eq!(count(&client, due).await, 1, "{body}: {outcome:?}");
        assert_eq!(of_type(&api.events().await, "flag_schedule.applied").len(), 4, "{body}");
        client.batch_execute("drop trigger meddle on feature_flag_schedules").await.unwrap();
    }
    assert_eq!(ended(&api.tick().await.value()), 1);
}

#[tokio::test]
async fn a_schedule_that_a_trigger_puts_back_afterwards_is_not_applied_without_end() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, 5).await;
    let sql = "create function put_back() returns trigger language plpgsql as $$begin
            update feature_flag_schedules set status = 'pending' where id = new.id; return null; end$$;
        create trigger put_back after update on feature_flag_schedules for each row
            when (old.status = 'pending' and new.status = 'applied') execute function put_back()";
    client.batch_execute(sql).await.unwrap();

    let report = api.tick().await.value();

    assert!(report["applied"].as_u64() <= Some(10), "{report:#}");
    assert_eq!(report["flags_left"], 5, "{report:#}");
}

#[tokio::test]
async fn what_a_trigger_leaves_behind_in_the_session_harms_no_later_tick() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    for body in [
        "set search_path = pg_catalog; return new;",
        "create temp table if not exists feature_flags (x int); return new;",
    ] {
        client.batch_execute("delete from feature_flags").await.unwrap();
        fill(&client, 1).await;
        before_update(&client, "feature_flags", body).await;
        let _ = api.tick().await;
        client
            .batch_execute("drop trigger meddle on public.feature_flags; delete from feature_flags")
            .await
            .unwrap();
        fill(&client, 2).await;

        let ticks = [api.tick().await.outcome, api.tick().await.outcome];

        let due = "select count(*) from feature_flag_schedules where status = 'pending'";
        assert_eq!(count(&client, due).await, 0, "{body}: {ticks:?}");
    }
}

#[tokio::test]
async fn a_cancel_that_a_trigger_prevents_is_a_422_that_has_changed_nothing() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let token = api.admin();
    let created = api.create(&token, "a", "", &turn_on()).await;
    let id = text(&created.json, "id");
    let client = api.database.connect_as_superuser().await;
    for body in [
        "return null;",
        "new.status := 'pending'; return new;",
        "new.cancelled_at := null; return new;",
        "delete from feature_flag_schedules where id = new.id; return new;",
    ] {
        before_update(&client, "feature_flag_schedules", body).await;

        let cancelled = api.cancel(&token, "a", id, "").await;

        assert_eq!(cancelled.status, 422, "{body}: {cancelled:?}");
        assert_eq!(cancelled.json["code"], "rejected_by_database", "{body}: {cancelled:?}");
        client.batch_execute("drop trigger meddle on feature_flag_schedules").await.unwrap();
        let pending =
            "select count(*) from feature_flag_schedules where status = 'pending' and cancelled_by is null";
        assert_eq!(count(&client, pending).await, 1, "{body}");
    }
    assert_eq!(api.cancel(&token, "a", id, "").await.status, 200);
    assert_eq!(api.events().await.len(), 2);
}

#[tokio::test]
async fn a_create_whose_row_is_not_pending_is_a_422_that_has_stored_nothing() {
    let api = Api::start().await;
    api.flag("a", "production").await;
    let client = api.database.connect_as_superuser().await;
    for change in [
        "alter status set default 'paused'",
        "alter created_at drop not null, alter created_at set default null",
    ] {
        client.batch_execute("alter table feature_flag_schedules drop constraint if exists feature_flag_schedules_status_check").await.unwrap();
        client.batch_execute(&format!("alter table feature_flag_schedules {change}")).await.unwrap();

        let created = api.create(&api.admin(), "a", "", &turn_on()).await;

        assert_eq!(created.status, 422, "{change}: {created:?}");
        assert_eq!(count(&client, "select count(*) from feature_flag_schedules").await, 0, "{change}");
        client
            .batch_execute("alter table feature_flag_schedules alter status set default 'pending'")
            .await
            .unwrap();
    }
    assert!(api.events().await.is_empty());
}

#[tokio::test]
async fn an_event_that_a_trigger_keeps_out_of_the_outbox_is_logged_and_delivered() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, 5).await;
    api.flag("a", "production").await;
    let lose = "create function lose() returns trigger language plpgsql as $$begin
            if new.schedule ->> 'flag_key' in ('a', 'flag-1') then return null; end if; return new; end$$;
         create trigger lose before insert on audit_outbox for each row execute function lose()";
    client.batch_execute(lose).await.unwrap();

    let created = api.create(&api.admin(), "a", "", &turn_on()).await;
    let cancelled = api.cancel(&api.admin(), "a", text(&created.json, "id"), "").await;
    let report = api.tick().await.value();

    assert_eq!((created.status, cancelled.status), (201, 200), "{created:?} {cancelled:?}");
    assert_eq!(report["applied"], 5, "{report:#}");
    for function in ["create-schedule", "cancel-schedule", "schedule-processor"] {
        let is_told = |line: &str| line.contains("ERROR") && line.contains("outbox could not be written");
        api.function(function).await.wait_for_log(is_told, LIMIT).await;
    }
    let events = api.wait_for_events(|events| events.len() >= 7).await;
    for (kind, count) in
        [("flag_schedule.created", 1), ("flag_schedule.cancelled", 1), ("flag_schedule.applied", 5)]
    {
        assert_eq!(of_type(&events, kind).len(), count, "{kind}: {events:#?}");
    }
}
