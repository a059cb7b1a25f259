//! Events whose rows cannot be deleted: they wait, and delay no other event.

use std::time::Duration;

use harness::api::Api;
use harness::lambda::Launch;
use harness::postgres::SERVICE_ROLE;
use tokio_postgres::Client;

use super::fault_kinds::CODES;
use super::locked_rows::{MORE_CODES, fill};
use crate::processor::crowd::count;
use crate::seeds::Dice;
use crate::support::{LIMIT, text, turn_on};

const FLAGS: i32 = 12;

/// Runs before or after the deletion of the one row, and whatever else the trigger is made for.
async fn meddle(client: &Client, body: &str, trigger: &str) {
    let sql = format!(
        "create or replace function meddle() returns trigger language plpgsql as $$begin
             if old.schedule ->> 'flag_key' = 'flag-1' then {body} end if;
             return coalesce(new, old);
         end$$;
         {trigger} on audit_outbox {} for each row execute function meddle()",
        if trigger.contains("constraint") { "deferrable initially deferred" } else { "" },
    );
    client.batch_execute(&sql).await.unwrap();
}

/// How often the event of each flag was delivered: of `flag-1`, and of each other.
async fn copies(api: &Api) -> (usize, Vec<usize>) {
    let client = api.database.connect_as_superuser().await;
    let ids = client.query("select s.id::text, f.flag_key from feature_flag_schedules s join feature_flags f on f.id = s.flag_id", &[]);
    let ids = ids.await.unwrap();
    let events = api.events().await;
    let count = |id: &str| events.iter().filter(|event| text(event, "schedule_id") == id).count();
    let (one, others): (Vec<_>, Vec<_>) = ids.iter().partition(|row| row.get::<_, &str>(1) == "flag-1");
    (count(one[0].get(0)), others.iter().map(|row| count(row.get(0))).collect())
}

#[tokio::test]
async fn whatever_keeps_the_row_of_one_event_no_event_is_delivered_twice_and_no_other_is_delayed() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    let raise = |code: &str| format!("raise exception 'kept %', '{code}' using errcode = '{code}';");
    let before = "create trigger meddle before delete";
    let mut kinds: Vec<(String, &str)> =
        CODES.into_iter().chain(MORE_CODES).map(|code| (raise(code), before)).collect();
    kinds.extend([
        ("return null;".to_owned(), before),
        ("perform pg_terminate_backend(pg_backend_pid());".to_owned(), before),
        (raise("P0001"), "create constraint trigger meddle after delete"),
        (raise("P0001"), "create trigger meddle before delete or update"),
        ("return null;".to_owned(), "create trigger meddle before delete or update"),
    ]);
    let mut faults = Vec::new();

    for (body, trigger) in kinds {
        client.batch_execute("delete from feature_flags; delete from audit_outbox").await.unwrap();
        fill(&client, FLAGS).await;
        meddle(&client, &body, trigger).await;
        for _ in 0..3 {
            api.tick().await.value();
        }
        let (one, others) = copies(&api).await;
        let left = count(&client, "select count(*) from audit_outbox").await;
        client.batch_execute("drop trigger meddle on audit_outbox").await.unwrap();
        api.tick().await.value();
        let (in_the_end, _) = copies(&api).await;
        if one != 0 || in_the_end != 1 || others.iter().any(|copies| *copies != 1) || left != 1 {
            faults.push(format!(
                "{trigger}, {body}: {one}, then {in_the_end} of the one, {others:?} of others, {left} left"
            ));
        }
    }

    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[tokio::test]
async fn an_event_whose_row_cannot_be_deleted_is_named_with_the_reason() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, FLAGS).await;
    meddle(&client, "raise 'nothing is ever deleted here';", "create trigger meddle before delete").await;

    let report = api.tick().await.value();

    let counts = (&report["audit_delivered"], &report["audit_backlog"], &report["audit_dead"]);
    assert_eq!(counts, (&(FLAGS - 1).into(), &1.into(), &0.into()), "{report:#}");
    let id: String = client.query_one("select event_id::text from audit_outbox", &[]).await.unwrap().get(0);
    let is_told = |line: &str| {
        line.contains("WARN") && line.contains(&id) && line.contains("nothing is ever deleted here")
    };
    api.function("schedule-processor").await.wait_for_log(is_told, LIMIT).await;
}

#[tokio::test]
async fn nothing_is_sent_while_no_row_may_be_deleted_and_everything_once_afterwards() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    let raise =
        "create or replace function refuse() returns trigger language plpgsql as $$begin raise 'no'; end$$;
        create trigger refuse before delete on audit_outbox for each statement execute function refuse()";
    for (prevent, allow) in [
        (
            format!("revoke delete on audit_outbox from {SERVICE_ROLE}"),
            format!("grant delete on audit_outbox to {SERVICE_ROLE}"),
        ),
        (raise.to_owned(), "drop trigger refuse on audit_outbox".to_owned()),
    ] {
        client.batch_execute("delete from feature_flags; delete from audit_outbox").await.unwrap();
        fill(&client, FLAGS).await;
        client.batch_execute(&prevent).await.unwrap();

        for _ in 0..3 {
            let report = api.tick().await.value();
            assert_eq!(
                (&report["audit_delivered"], &report["audit_dead"]),
                (&0.into(), &0.into()),
                "{prevent}"
            );
        }

        let (one, others) = copies(&api).await;
        assert_eq!((one, others.iter().sum::<usize>()), (0, 0), "{prevent}");
        client.batch_execute(&allow).await.unwrap();
        assert_eq!(api.tick().await.value()["audit_delivered"], FLAGS, "{allow}");
    }
}

#[tokio::test]
async fn events_that_wait_to_be_deleted_are_left_to_later_ticks_and_delay_no_other() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    let somebody = api.database.connect().await;
    client
        .batch_execute(&format!(
            "create table busy (n integer); insert into busy values (1); grant all on busy to public;
             alter role {SERVICE_ROLE} in database {} set lock_timeout = '2s'",
            api.database.name()
        ))
        .await
        .unwrap();
    fill(&client, 60).await;
    let wait = "create function wait() returns trigger language plpgsql as $$begin
             if substr(old.schedule ->> 'flag_key', 6)::int % 6 = 1 then update busy set n = 1; end if;
             return old;
         end$$;
         create trigger wait before delete on audit_outbox for each row execute function wait()";
    client.batch_execute(wait).await.unwrap();
    somebody.batch_execute("begin; update busy set n = 2").await.unwrap();

    let reports = [api.tick().await.value(), api.tick().await.value()];

    assert_eq!(reports[0]["audit_delivered"], 50, "{reports:#?}");
    assert_eq!(
        (&reports[1]["audit_backlog"], &reports[1]["audit_dead"]),
        (&10.into(), &0.into()),
        "{reports:#?}"
    );
    assert_eq!(copies(&api).await.0, 0);
    somebody.batch_execute("rollback").await.unwrap();
    assert_eq!(api.tick().await.value()["audit_delivered"], 10);
    assert_eq!(copies(&api).await, (1, vec![1; 59]));
}

#[tokio::test]
async fn an_event_sent_by_its_own_function_whose_row_is_kept_is_sent_once_more_when_it_can_be_deleted() {
    let api = Api::start().await;
    api.flag("flag-1", "production").await;
    let client = api.database.connect_as_superuser().await;
    meddle(&client, "raise 'no';", "create trigger meddle before delete").await;

    let created = api.create(&api.admin(), "flag-1", "", &turn_on()).await;

    assert_eq!(created.status, 201, "{created:?}");
    api.settle().await;
    client.batch_execute("update audit_outbox set written_at = now() - interval '1 minute'").await.unwrap();
    for _ in 0..2 {
        assert_eq!(api.tick().await.value()["audit_backlog"], 1);
        assert_eq!(api.events().await.len(), 1);
    }
    client.batch_execute("drop trigger meddle on audit_outbox").await.unwrap();
    for _ in 0..2 {
        assert_eq!(api.tick().await.value()["audit_backlog"], 0);
        assert_eq!(api.events().await.len(), 2);
    }
}

#[tokio::test]
async fn of_many_events_some_of_which_cannot_be_deleted_none_is_delivered_twice_and_no_other_is_delayed() {
    let api = Api::start().await;
    let client = api.database.connect_as_superuser().await;
    client
        .batch_execute(
            "create table kept (flag_key text primary key, code text not null); grant select on kept to public;
             create function keep() returns trigger language plpgsql as $$
             declare why text;
             begin
                 select code into why from kept where flag_key = old.schedule ->> 'flag_key';
                 if why is null then return old; end if;
                 if why = 'none' then return null; end if;
                 raise exception 'kept' using errcode = why;
             end$$;
             create trigger keep before delete on audit_outbox for each row execute function keep()",
        )
        .await
        .unwrap();
    for (seed, flags) in [(1, 1), (2, 3), (3, 11), (4, 120), (5, 1_001), (6, 2_100)] {
        client
            .batch_execute("delete from feature_flags; delete from audit_outbox; delete from kept")
            .await
            .unwrap();
        fill(&client, flags).await;
        let mut dice = Dice(seed);
        let mut kept: Vec<i64> = (1..=dice.roll(20))
            .map(|_| i64::try_from(dice.roll(flags.try_into().unwrap())).unwrap() + 1)
            .collect();
        kept.sort_unstable();
        kept.dedup();
        for flag in &kept {
            let code = *dice.pick(&["none", "P0001", "53100", "42501", "57014"]);
            let sql = "insert into kept values ('flag-' || $1::bigint, $2)";
            client.execute(sql, &[flag, &code]).await.unwrap();
        }

        let reports = [api.tick().await.value(), api.tick().await.value()];

        let copies = "select count(*) from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
            left join kept k using (flag_key) where s.id::text = any ($1) and k.flag_key is null";
        let events: Vec<String> =
            api.events().await.iter().map(|event| text(event, "schedule_id").to_owned()).collect();
        let others: i64 = client.query_one(copies, &[&events]).await.unwrap().get(0);
        assert_eq!(
            others,
            i64::from(flags) - i64::try_from(kept.len()).unwrap(),
            "seed {seed}: {reports:#?}"
        );
        let mut unique = events.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), events.len(), "seed {seed}: events delivered twice; {reports:#?}");
        client.batch_execute("delete from kept").await.unwrap();
        api.tick().await.value();
        let left = "select count(*) from audit_outbox";
        assert_eq!(count(&client, left).await, 0, "seed {seed}");
    }
}

#[tokio::test]
async fn rows_that_take_long_not_to_be_deleted_are_known_to_later_ticks_and_delay_no_other_there() {
    let launch = |launch: Launch| launch.timeout(Duration::from_secs(8));
    let api = Api::with().launch("schedule-processor", launch).start().await;
    let client = api.database.connect_as_superuser().await;
    fill(&client, 110).await;
    let slow = "create function slow() returns trigger language plpgsql as $$begin
             if substr(old.schedule ->> 'flag_key', 6)::int <= 100 then perform pg_sleep(0.1); raise 'no'; end if;
             return old;
         end$$;
         create trigger slow before delete on audit_outbox for each row execute function slow()";
    client.batch_execute(slow).await.unwrap();
    let ticks_until = async |backlog: u64| {
        let mut reports = Vec::new();
        while reports.len() < 4 {
            reports.push(api.tick().await.value());
            if reports.last().is_some_and(|report| report["audit_backlog"] == backlog) {
                return;
            }
        }
        panic!("the backlog is not {backlog}: {reports:#?}");
    };

    ticks_until(100).await;
    assert_eq!(api.events().await.len(), 10);
    client.batch_execute("drop trigger slow on audit_outbox").await.unwrap();
    ticks_until(0).await;
    assert_eq!(copies(&api).await, (1, vec![1; 109]));
}
