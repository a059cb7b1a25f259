//! Outcomes of a delivery that the database does not store as they are: no event is sent again and again, no other is delayed,
//! and what is reported is true.

use harness::api::Api;
use tokio_postgres::Client;

use super::locked_rows::fill;
use super::triggers::before_update;
use crate::audit::trail;
use crate::processor::crowd::count;
use crate::support::LIMIT;

/// Events of `fill`.
const FLAGS: i32 = 6;
/// More than one delivery takes.
const MANY: usize = 1_100;

/// Rows that no release can read, older than all others.
async fn unreadable(client: &Client, rows: usize) {
    let sql = format!(
        "insert into audit_outbox (event_id, event_type, context, schedule, written_at)
         select gen_random_uuid(), 'flag_schedule.created', '[]', '{{}}', now() - interval '1 hour'
         from generate_series(1, {rows})"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// How often each event was delivered.
async fn copies(api: &Api) -> Vec<usize> {
    trail::copies(&api.events().await).into_values().collect()
}

#[tokio::test]
async fn events_that_cannot_be_marked_dead_delay_no_other_and_are_logged_once_in_a_tick() {
    for body in ["return null;", "new.dead_at := null; return new;", "raise 'append only';"] {
        let api = Api::start().await;
        let client = api.database.connect_as_superuser().await;
        unreadable(&client, MANY).await;
        fill(&client, FLAGS).await;
        before_update(&client, "audit_outbox", body).await;

        let report = api.tick().await.value();

        assert_eq!(report["audit_delivered"], FLAGS, "{body}: {report:#}");
        assert_eq!(copies(&api).await, vec![1; FLAGS as usize], "{body}");
        let log = api.function("schedule-processor").await.logs();
        let told = log.iter().filter(|line| line.contains("cannot be rendered")).count();
        assert!(told <= MANY, "{body}: {told} lines about {MANY} events");
    }
}

#[tokio::test]
async fn what_was_delivered_is_counted_even_if_another_event_cannot_be_marked_dead() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    unreadable(&client, 1).await;
    fill(&client, FLAGS).await;
    before_update(&client, "audit_outbox", "raise 'append only';").await;

    let report = api.tick().await.value();

    let counts = (&report["audit_delivered"], &report["audit_backlog"]);
    assert_eq!(counts, (&FLAGS.into(), &1.into()), "{report:#}");
}

#[tokio::test]
async fn events_whose_deletion_fails_only_at_the_commit_are_not_sent_again_with_every_tick() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, FLAGS).await;
    let sql = "create table notes (n int unique deferrable initially deferred); insert into notes values (1);
         grant all on notes to public;
         create function note() returns trigger language plpgsql as $$begin
             if old.schedule ->> 'flag_key' = 'flag-1' then
                 set constraints all deferred;
                 insert into notes values (1);
             end if;
             return old;
         end$$;
         create trigger note before delete on audit_outbox for each row execute function note()";
    client.batch_execute(sql).await.unwrap();

    let mut reports = Vec::new();
    for _ in 0..4 {
        reports.push(api.tick().await.value());
    }

    assert_eq!(copies(&api).await, vec![1; FLAGS as usize], "{reports:#?}");
    let counts = |name: &str| reports.iter().map(|report| report[name].as_i64()).collect::<Vec<_>>();
    assert_eq!(counts("audit_delivered"), [Some(FLAGS.into()), Some(0), Some(0), Some(0)], "{reports:#?}");
    assert_eq!(counts("audit_backlog"), [Some(1); 4], "{reports:#?}");
    client.batch_execute("drop trigger note on audit_outbox").await.unwrap();
    api.tick().await.value();
    assert_eq!(count(&client, "select count(*) from audit_outbox").await, 0);
    assert_eq!(copies(&api).await, vec![1; FLAGS as usize]);
}

#[tokio::test]
async fn events_that_a_trigger_puts_back_are_not_sent_again_with_every_tick() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    let sql = "create function put_back() returns trigger language plpgsql security definer as $$begin
             insert into audit_outbox select old.*; return null;
         end$$;
         create trigger put_back after delete on audit_outbox for each row execute function put_back()";
    client.batch_execute(sql).await.unwrap();
    for flags in [FLAGS, 1_000] {
        client.batch_execute("delete from feature_flags").await.unwrap();
        fill(&client, flags).await;
        for delivered in [flags, 0, 0] {
            let report = api.tick().await.value();
            assert_eq!(report["audit_delivered"], delivered, "{report:#}");
        }
    }
    assert_eq!(copies(&api).await, vec![1; FLAGS as usize + 1_000]);
}

#[tokio::test]
async fn a_row_with_the_id_of_a_delivered_event_is_sent_only_if_it_says_something_else() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    client.batch_execute("create table kept as select * from audit_outbox").await.unwrap();
    let sql = "create function keep() returns trigger language plpgsql security definer as $$begin
             insert into kept select old.*; return old;
         end$$;
         create trigger keep before delete on audit_outbox for each row execute function keep()";
    client.batch_execute(sql).await.unwrap();
    fill(&client, 1).await;
    assert_eq!(api.tick().await.value()["audit_delivered"], 1);
    client.batch_execute("drop trigger keep on audit_outbox").await.unwrap();
    for (change, sent) in [("schedule", 0), ("schedule || '{\"reason\": \"another\"}'", 1)] {
        let sql = format!(
            "insert into audit_outbox (event_id, event_type, context, schedule)
             select event_id, event_type, context, {change} from kept"
        );
        client.batch_execute(&sql).await.unwrap();

        let report = api.tick().await.value();

        let counts = (&report["audit_delivered"], &report["audit_backlog"]);
        assert_eq!(counts, (&sent.into(), &0.into()), "{change}: {report:#}");
    }
    let is_told = |line: &str| line.contains("WARN") && line.contains("delivered before");
    api.function("schedule-processor").await.wait_for_log(is_told, LIMIT).await;
    assert_eq!(copies(&api).await, [2]);
}
