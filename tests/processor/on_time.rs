//! Ticks that wait for what comes due. Not how late it is done, which is measured by `make bench`, but that the waiting tick
//! does it, never early, whatever happens meanwhile.

use std::time::{Duration, Instant};

use harness::api::{Api, Setup, tick_event};
use harness::cloudwatch::{CloudWatch, Fault};
use harness::database::Database;
use harness::interceptor::{Act, Interceptor, Rule};
use harness::lambda::{Env, Launch};
use harness::postgres::{Options, Server, Stop};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{LIMIT, in_seconds, of_type, only, text};

/// The service with a processor that waits for this, in ticks of `time`.
fn waits_for(watch: &str, launch: fn(Launch) -> Launch) -> Setup {
    Api::with().env("schedule-processor", "TICK_WATCH", Some(watch)).launch("schedule-processor", launch)
}

/// Ticks that wait for up to ten seconds: what is left of their time is reserved.
fn ticks_of_ten_seconds(launch: Launch) -> Launch {
    launch.timeout(Duration::from_secs(16))
}

/// Creates a schedule `seconds` ahead.
async fn plan(api: &Api, flag: &str, seconds: i64, updates: &Value) -> String {
    let body = json!({"scheduled_at": in_seconds(seconds), "updates": updates});
    let created = api.create(&api.admin(), flag, "", &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    text(&created.json, "id").to_owned()
}

/// Waits until a tick has looked for what comes next, and is at rest.
async fn until_a_tick_waits(client: &Client) {
    let sql = "select exists (
        select from pg_stat_activity
        where datname = current_database() and query like '-- find_next_due%' and state = 'idle'
    )";
    let deadline = Instant::now() + LIMIT;
    while !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "no tick waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the tick has also delivered the events that there were, which it does meanwhile.
async fn until_no_transaction_is_open(client: &Client) {
    let sql = "select query from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null";
    let deadline = Instant::now() + LIMIT;
    loop {
        let open = client.query(sql, &[]).await.unwrap();
        let open: Vec<String> = open.iter().map(|row| row.get(0)).collect();
        if open.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "transactions are open: {open:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many have ended, none before its time.
async fn ended(client: &Client) -> i64 {
    let sql = "select count(*), count(*) filter (where coalesce(applied_at, failed_at) < scheduled_at)
        from feature_flag_schedules where status in ('applied', 'failed')";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(1), 0, "some were applied before their time");
    row.get(0)
}

#[tokio::test]
async fn a_tick_waits_for_what_is_planned_and_applies_it_at_its_time() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    api.flag("a", "production").await;
    for (seconds, percentage) in [(1, 10), (2, 20), (3, 30)] {
        plan(&api, "a", seconds, &json!({"rollout_percentage": percentage})).await;
    }
    plan(&api, "a", 3600, &json!({"rollout_percentage": 99})).await;

    let report = api.tick().await.value();

    assert_eq!((&report["applied"], &report["still_due"]), (&json!(3), &json!(0)), "{report:#}");
    assert!(report["waiting_ms"].as_u64() > Some(0), "{report:#}");
    assert!(report["lateness"]["p50_ms"].as_u64() <= report["lateness"]["max_ms"].as_u64(), "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (false, 30));
    assert_eq!(ended(&api.database.connect().await).await, 3);
    let events = api.events().await;
    assert_eq!(of_type(&events, "flag_schedule.applied").len(), 3, "{events:#?}");
    for (percentage, event) in [0, 10, 20].into_iter().zip(of_type(&events, "flag_schedule.applied")) {
        assert_eq!(event["change"]["before"]["rollout_percentage"], percentage, "one after the other");
    }
}

#[tokio::test]
async fn a_tick_with_nothing_to_wait_for_ends_at_once() {
    for (watch, ahead) in [("planned", 3600), ("off", 3)] {
        let api = waits_for(watch, ticks_of_ten_seconds).start().await;
        api.flag("a", "production").await;
        plan(&api, "a", ahead, &json!({"enabled": true})).await;

        let report = api.tick().await.value();

        assert_eq!(
            (&report["applied"], &report["waiting_ms"]),
            (&json!(0), &json!(0)),
            "{watch}: {report:#}"
        );
        assert_eq!(report["lateness"], json!({"p50_ms": null, "p99_ms": null, "max_ms": null}), "{watch}");
    }
}

#[tokio::test]
async fn what_is_created_while_a_tick_waits_is_noticed_and_what_is_cancelled_is_left_alone() {
    let api = waits_for("always", ticks_of_ten_seconds).start().await;
    for flag in ["a", "b"] {
        api.flag(flag, "production").await;
    }
    let client = api.database.connect().await;
    let cancelled = plan(&api, "b", 6, &json!({"enabled": true})).await;

    let meanwhile = async {
        until_a_tick_waits(&client).await;
        plan(&api, "a", 3, &json!({"enabled": true})).await;
        let answer = api.cancel(&api.admin(), "b", &cancelled, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let (tick, ()) = tokio::join!(api.tick(), meanwhile);

    let report = tick.value();
    assert_eq!(report["applied"], 1, "{report:#}");
    assert_eq!(api.flag_state("a", "production").await, (true, 0));
    assert_eq!(api.flag_state("b", "production").await, (false, 0));
    assert_eq!(ended(&client).await, 1);
}

#[tokio::test]
async fn a_tick_ends_when_the_last_thing_it_waits_for_is_cancelled() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    api.flag("a", "production").await;
    let client = api.database.connect().await;
    let id = plan(&api, "a", 9, &json!({"enabled": true})).await;

    let meanwhile = async {
        until_a_tick_waits(&client).await;
        api.cancel(&api.admin(), "a", &id, "").await
    };
    let (tick, cancelled) = tokio::join!(api.tick(), meanwhile);

    assert_eq!(cancelled.status, 200);
    let report = tick.value();
    assert_eq!(report["applied"], 0, "{report:#}");
    assert!(report["waiting_ms"].as_u64() < Some(9_000), "it did not wait for nothing: {report:#}");
}

/// The next tick of EventBridge comes while this one still waits, and a third one is late.
#[tokio::test]
async fn ticks_that_wait_for_the_same_apply_it_once() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    let client = api.database.connect().await;
    for flag in 0..10 {
        api.flag(&format!("flag-{flag}"), "production").await;
        for seconds in [2, 3] {
            plan(&api, &format!("flag-{flag}"), seconds, &json!({"rollout_percentage": seconds})).await;
        }
    }
    let others = [api.another("schedule-processor").await, api.another("schedule-processor").await];
    let event = tick_event();

    let (one, two, three) = tokio::join!(api.tick(), others[0].invoke(&event), others[1].invoke(&event));

    let applied = [one, two, three].map(|tick| tick.value()["applied"].as_u64().unwrap());
    assert_eq!(applied.iter().sum::<u64>(), 20, "{applied:?}");
    assert_eq!(ended(&client).await, 20);
    let events = api.wait_for_events(|events| of_type(events, "flag_schedule.applied").len() >= 20).await;
    assert_eq!(of_type(&events, "flag_schedule.applied").len(), 20);
}

#[tokio::test]
async fn a_tick_that_is_killed_while_it_waits_holds_nothing_and_the_next_one_does_its_work() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    api.flag("a", "production").await;
    let client = api.database.connect().await;
    plan(&api, "a", 4, &json!({"enabled": true})).await;
    let processor = api.function("schedule-processor").await;

    let meanwhile = async {
        until_a_tick_waits(&client).await;
        until_no_transaction_is_open(&client).await;
        processor.kill();
    };
    let (killed, ()) = tokio::join!(api.tick(), meanwhile);

    assert_eq!(killed.error().error_type, "Runtime.ExitError");
    let next = api.tick().await.value();
    assert_eq!(next["applied"], 1, "{next:#}");
    assert_eq!(ended(&client).await, 1);
}

/// To a waiting tick, a jump of that clock is the same as rows that move.
#[tokio::test]
async fn a_tick_that_waits_follows_the_databases_clock() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    for flag in ["forward", "back"] {
        api.flag(flag, "production").await;
    }
    let client = api.database.connect().await;
    plan(&api, "forward", 9, &json!({"enabled": true})).await;
    plan(&api, "back", 2, &json!({"enabled": true})).await;

    let meanwhile = async {
        until_a_tick_waits(&client).await;
        let jump = "update feature_flag_schedules s
            set scheduled_at = now() + make_interval(secs => case f.flag_key when 'forward' then 0 else 5 end)
            from feature_flags f where f.id = s.flag_id";
        client.batch_execute(jump).await.unwrap();
    };
    let (tick, ()) = tokio::join!(api.tick(), meanwhile);

    assert_eq!(tick.value()["applied"], 2);
    assert_eq!(ended(&client).await, 2);
}

/// What is the matter with one flag is no reason for another one to be late.
#[tokio::test]
async fn flags_that_are_locked_or_fail_do_not_end_the_wait_for_others() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    for flag in ["locked", "broken", "healthy"] {
        api.flag(flag, "production").await;
    }
    let client = api.database.connect().await;
    let broken = "create function fail() returns trigger language plpgsql as
            $$ begin raise exception 'no' using errcode = 'P0002'; end $$;
        create trigger fail before update on feature_flags for each row when (old.flag_key = 'broken') execute function fail();
        create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'never' using errcode = '57014'; end $$;
        create trigger refuse before update on feature_flag_schedules for each row when (new.error_code is not null)
            execute function refuse()";
    client.batch_execute(broken).await.unwrap();
    plan(&api, "locked", 1, &json!({"enabled": true})).await;
    plan(&api, "broken", 1, &json!({"enabled": true})).await;
    plan(&api, "healthy", 5, &json!({"enabled": true})).await;
    let holder = api.database.connect().await;
    holder
        .batch_execute("begin; select from feature_flags where flag_key = 'locked' for update")
        .await
        .unwrap();

    let report = api.tick().await.value();

    assert_eq!((&report["applied"], &report["still_due"]), (&json!(1), &json!(2)), "{report:#}");
    assert_eq!(api.flag_state("healthy", "production").await, (true, 0));
    assert_eq!(ended(&client).await, 1);
}

#[tokio::test]
async fn a_database_that_fails_over_while_a_tick_waits_is_found_again_by_the_same_tick() {
    let server = Server::start(Options { careless: true, ..Options::default() }).await;
    let mut server = server.unwrap_or_else(|error| panic!("{error}"));
    let database = Database::empty_on(&server).await;
    let env = Env::new().set("DATABASE_URL", database.url());
    let migrate = Launch::of("migrate").env(env).timeout(LIMIT).start().await.unwrap();
    migrate.invoke(&Value::Null).await.value();
    let api = waits_for("planned", |launch| launch.timeout(Duration::from_secs(25)))
        .database(database)
        .start()
        .await;
    api.flag("a", "production").await;
    plan(&api, "a", 2, &json!({"rollout_percentage": 1})).await;
    plan(&api, "a", 6, &json!({"rollout_percentage": 2})).await;
    api.settle().await;

    let meanwhile = async {
        until_a_tick_waits(&api.database.connect().await).await;
        server.stop(Stop::Immediate).await;
        server.start_again().await.unwrap_or_else(|error| panic!("{error}"));
    };
    let (tick, ()) = tokio::join!(api.tick(), meanwhile);

    let report = tick.value();
    assert_eq!((&report["applied"], &report["interrupted"]), (&json!(2), &json!(false)), "{report:#}");
    assert_eq!(ended(&api.database.connect().await).await, 2);
}

#[tokio::test]
async fn what_comes_due_between_the_last_pass_and_the_look_for_the_next_change_is_done_by_the_same_tick() {
    let database = Database::migrated().await;
    let interceptor = Interceptor::before(&database).await;
    let setup = waits_for("planned", ticks_of_ten_seconds).database(database);
    let api = setup.env_everywhere("DATABASE_URL", Some(&interceptor.url())).start().await;
    api.flag("a", "production").await;
    plan(&api, "a", 2, &json!({"enabled": true})).await;
    let client = api.database.connect().await;
    let look = Rule { label: "find_next_due".to_owned(), occurrence: 1, act: Act::Hold };
    interceptor.begin(vec![look]);

    let meanwhile = async {
        let due = "select exists (select from feature_flag_schedules where scheduled_at < now())";
        let deadline = Instant::now() + LIMIT;
        while interceptor.fired().is_empty() || !client.query_one(due, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "the tick does not look, or nothing comes due");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        interceptor.release();
    };
    let (tick, ()) = tokio::join!(api.tick(), meanwhile);

    let report = tick.value();
    assert_eq!((&report["applied"], &report["still_due"]), (&json!(1), &json!(0)), "{report:#}");
}

/// What a sweep may take twenty seconds for comes last, and what is planned meanwhile is seen.
#[tokio::test]
async fn a_log_that_never_answers_does_not_hide_what_is_created_meanwhile() {
    for watch in ["always", "planned"] {
        let cloudwatch = CloudWatch::start().await;
        let api = waits_for(watch, ticks_of_ten_seconds).cloudwatch(&cloudwatch).start().await;
        for flag in ["first", "a", "last"] {
            api.flag(flag, "production").await;
        }
        cloudwatch.from_now_on(Fault::Silence);
        let client = api.database.connect().await;
        plan(&api, "last", 9, &json!({"enabled": true})).await;
        api.make_due(&plan(&api, "first", 60, &json!({"enabled": true})).await, Duration::from_secs(1)).await;
        // Of the creates, as if they had been left behind.
        let sql = "update audit_outbox set written_at = written_at - interval '1 minute'";
        client.batch_execute(sql).await.unwrap();

        let meanwhile = async {
            until_a_tick_waits(&client).await;
            plan(&api, "a", 3, &json!({"enabled": true})).await
        };
        let (tick, created) = tokio::join!(api.tick(), meanwhile);

        assert_eq!(tick.value()["applied"], 3, "{watch}");
        let sql = "select extract(epoch from applied_at - scheduled_at)::float8 from feature_flag_schedules where id = $1::text::uuid";
        let late: f64 = client.query_one(sql, &[&created]).await.unwrap().get(0);
        // A call is given up after twenty seconds, if nothing else ends it.
        assert!((0.0..4.0).contains(&late), "{watch}: {late} s late");
    }
}

/// Events are sent while nothing is due; a log that does not answer must not take the time of what comes next.
#[tokio::test]
async fn a_log_that_never_answers_does_not_hold_up_the_next_change() {
    let cloudwatch = CloudWatch::start().await;
    let api = waits_for("planned", ticks_of_ten_seconds).cloudwatch(&cloudwatch).start().await;
    api.flag("a", "production").await;
    cloudwatch.from_now_on(Fault::Silence);
    for seconds in [2, 5] {
        plan(&api, "a", seconds, &json!({"rollout_percentage": seconds})).await;
    }

    let report = api.tick().await.value();

    assert_eq!(report["applied"], 2, "{report:#}");
    // A call is given up after twenty seconds, if nothing else ends it.
    assert!(report["lateness"]["max_ms"].as_u64() < Some(3_000), "{report:#}");
    cloudwatch.heal();
    let sql = "update audit_outbox set written_at = written_at - interval '1 minute'";
    api.database.connect().await.execute(sql, &[]).await.unwrap();
    api.tick().await.value();
    let events = cloudwatch.events();
    assert_eq!(of_type(&events, "flag_schedule.applied").len(), 2, "{events:#?}");
}

#[tokio::test]
async fn events_arrive_while_their_tick_still_waits() {
    let api = waits_for("planned", ticks_of_ten_seconds).start().await;
    api.flag("a", "production").await;
    plan(&api, "a", 1, &json!({"enabled": true})).await;
    let last = plan(&api, "a", 7, &json!({"enabled": false})).await;

    let meanwhile = async {
        let events = api.wait_for_events(|events| !of_type(events, "flag_schedule.applied").is_empty()).await;
        let row = api.find(&api.admin(), "a", &last, "").await;
        (only(&events, "flag_schedule.applied").clone(), row.json["status"].clone())
    };
    let (tick, (event, status)) = tokio::join!(api.tick(), meanwhile);

    assert_eq!(event["change"]["after"]["enabled"], true);
    assert_eq!(status, "pending", "the tick is still waiting for this one");
    assert_eq!(tick.value()["applied"], 2);
}

#[tokio::test]
async fn a_watch_that_is_not_known_stops_the_function_with_the_choices() {
    let api = Api::start().await;
    let env = api.env("schedule-processor").set("TICK_WATCH", "sometimes");

    let exit = harness::lambda::Function::expect_exit("schedule-processor", env).await;

    assert_eq!(exit.cause(), "TICK_WATCH is not known; it must be one of planned, always, off");
}
