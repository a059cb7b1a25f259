//! Adopted rows that have gone wrong before, each with the value that is right. They are played one after the other on
//! one service; a test looks at one of them.

use harness::database::Database;
use harness::lambda::{Env, Launch, Outcome};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::reading::{Row, pages, rows};
use super::shape::{Adopted, TABLES};
use crate::support::LIMIT;

/// Rows of another tool. Each case has the flags `odd` and `other`, disabled and at 0 %, and `other` has a due schedule;
/// `flag` and `schedule` are what differs for `odd`, whose schedule is due a minute ago unless told otherwise.
struct Case {
    name: &'static str,
    time_zone: &'static str,
    /// `column = expression` of the flag.
    flag: &'static str,
    /// The same of its schedule.
    schedule: &'static str,
}

const CASES: [Case; 11] = [
    case("an offset with seconds", "status = 'applied', applied_at = '0001-01-01 00:00:00+00'")
        .in_zone("Europe/Berlin"),
    case("apply_by infinity", "apply_by = 'infinity'"),
    case("apply_by after the year 9999 in UTC", "apply_by = '9999-12-31 23:59:59-01'"),
    case("no rollout_percentage", "reason = null").of_flag("rollout_percentage = null"),
    case("no enabled", "updates = '{\"rollout_percentage\": 5}'").of_flag("enabled = null"),
    case("no created_at", "created_at = null, scheduled_at = now() - interval '1 second'"),
    case("scheduled_at -infinity", "scheduled_at = '-infinity'"),
    case("a foreign status", "status = 'processing'"),
    case(
        "twenty thousand unknown keys",
        "updates = (select jsonb_object_agg('key' || n, n) from generate_series(1, 20000) n)",
    ),
    case("a frozen flag", "reason = null").of_flag("owner_team = 'frozen'"),
    case("a megabyte of reason", "reason = repeat('\"', 1000000)"),
];

const fn case(name: &'static str, schedule: &'static str) -> Case {
    Case { name, time_zone: "UTC", flag: "description = null", schedule }
}

impl Case {
    const fn in_zone(self, time_zone: &'static str) -> Self {
        Self { time_zone, ..self }
    }

    const fn of_flag(self, flag: &'static str) -> Self {
        Self { flag, ..self }
    }
}

/// What came of a case.
#[derive(Debug)]
struct Played {
    name: &'static str,
    tick: Outcome,
    odd: Row,
    other: Row,
    flag: Value,
    /// What is wrong with the pages of both flags.
    pages: Vec<String>,
    /// The event of the odd schedule.
    event: Option<Value>,
    dead: i64,
}

/// The case of this name, played; all of them are when the first is asked for.
async fn played(name: &str) -> &'static Played {
    static PLAYED: OnceCell<Vec<Played>> = OnceCell::const_new();
    let play_all = async || {
        let world = Adopted::start().await;
        let mut all = Vec::new();
        for case in &CASES {
            all.push(play(&world, case).await);
        }
        all
    };
    let all = PLAYED.get_or_init(play_all).await;
    all.iter().find(|played| played.name == name).unwrap_or_else(|| panic!("there is no case {name}"))
}

async fn play(world: &Adopted, case: &Case) -> Played {
    world.reset(case.time_zone).await;
    let sql = format!(
        "insert into feature_flags (flag_key) values ('odd'), ('other');
         insert into feature_flag_schedules (flag_id, scheduled_at, updates)
         select id, now() - interval '1 minute', '{{\"enabled\": true}}' from feature_flags;
         update feature_flags set {} where flag_key = 'odd';
         update feature_flag_schedules set {} where flag_id = (select id from feature_flags where flag_key = 'odd')",
        case.flag, case.schedule
    );
    world.owner.batch_execute(&sql).await.unwrap();
    let sent_before = world.cloudwatch.stored().len();

    let tick = world.api.tick().await.outcome;
    let rows = rows(world).await;
    let mut found = Vec::new();
    for flag in ["odd", "other"] {
        found.extend(pages(world, flag, &rows).await);
    }

    let of = |flag: &str| rows.iter().find(|row| row.flag_key == flag).cloned().unwrap();
    let odd = of("odd");
    let sent = world.cloudwatch.stored().split_off(sent_before);
    let event = sent.iter().map(|stored| stored.json()).find(|event| event["schedule_id"] == odd.id.as_str());
    let sql = "select (select count(*) from audit_outbox where dead_at is not null),
        jsonb_build_array(enabled, rollout_percentage) from feature_flags where flag_key = 'odd'";
    let row = world.owner.query_one(sql, &[]).await.unwrap();
    let flag = row.get::<_, tokio_postgres::types::Json<Value>>(1).0;
    Played { name: case.name, tick, other: of("other"), odd, flag, pages: found, event, dead: row.get(0) }
}

impl Played {
    /// That the other flag was not disturbed, every page can be read, and no event is dead.
    #[track_caller]
    fn assert_harmless(&self) {
        assert!(matches!(self.tick, Outcome::Ok(_)), "{:?}", self.tick);
        assert_eq!(self.other.status, "applied", "the other flag's schedule; {:?}", self.tick);
        assert!(self.pages.is_empty(), "{:#?}", self.pages);
        assert_eq!(self.dead, 0, "events that are dead");
    }

    /// The event of the odd schedule, which ended like this.
    #[track_caller]
    fn ended(&self, status: &str) -> &Value {
        assert_eq!(self.odd.status, status, "{:?}", self.tick);
        let event =
            self.event.as_ref().unwrap_or_else(|| panic!("there is no event of the schedule that {status}"));
        harness::audit_events::assert_valid(event);
        assert_eq!(event["event_type"], format!("flag_schedule.{status}"));
        event
    }
}

#[tokio::test]
async fn a_time_whose_offset_has_seconds_is_listed() {
    let played = played("an offset with seconds").await;

    played.assert_harmless();
    assert_eq!(played.odd.shown["applied_at"], "0001-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_schedule_that_may_be_applied_for_ever_is_applied() {
    for name in ["apply_by infinity", "apply_by after the year 9999 in UTC"] {
        let played = played(name).await;

        played.assert_harmless();
        assert_eq!(played.ended("applied")["schedule"]["apply_by"], "9999-12-31T23:59:59.999Z", "{name}");
    }
}

#[tokio::test]
async fn a_flag_without_a_rollout_percentage_is_at_0_percent() {
    let played = played("no rollout_percentage").await;

    played.assert_harmless();
    let change = &played.ended("applied")["change"];
    assert_eq!(change["before"], json!({"enabled": false, "rollout_percentage": 0}));
    assert_eq!(change["after"], json!({"enabled": true, "rollout_percentage": 0}));
    assert_eq!(played.flag[0], true);
}

#[tokio::test]
async fn a_flag_that_is_neither_enabled_nor_disabled_is_disabled() {
    let played = played("no enabled").await;

    played.assert_harmless();
    let change = &played.ended("applied")["change"];
    assert_eq!(change["before"], json!({"enabled": false, "rollout_percentage": 0}));
    assert_eq!(played.flag[1], 5);
}

#[tokio::test]
async fn a_schedule_of_which_nobody_knows_when_it_was_created_is_applied_and_listed() {
    let played = played("no created_at").await;

    played.assert_harmless();
    assert_eq!(played.ended("applied")["schedule"]["created_at"], Value::Null);
}

#[tokio::test]
async fn a_schedule_that_has_been_due_for_ever_is_applied_and_listed() {
    let played = played("scheduled_at -infinity").await;

    played.assert_harmless();
    assert_eq!(played.ended("applied")["schedule"]["scheduled_at"], "0001-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_status_of_another_tool_is_listed_as_stored_and_never_claimed() {
    let played = played("a foreign status").await;

    played.assert_harmless();
    assert_eq!(played.odd.status, "processing");
    assert_eq!(played.event, None);
    assert_eq!(played.flag, json!([false, 0]));
}

#[tokio::test]
async fn updates_with_twenty_thousand_unknown_keys_fail_with_a_short_message() {
    let played = played("twenty thousand unknown keys").await;

    played.assert_harmless();
    let error = &played.ended("failed")["error"];
    assert_eq!(error["code"], "invalid_updates");
    let message = error["message"].as_str().unwrap_or_default();
    assert!((1..=500).contains(&message.chars().count()), "{} characters", message.chars().count());
}

#[tokio::test]
async fn a_flag_whose_own_check_refuses_the_change_fails_alone() {
    let played = played("a frozen flag").await;

    played.assert_harmless();
    assert_eq!(played.ended("failed")["error"]["code"], "rejected_by_database");
    assert_eq!(played.flag, json!([false, 0]));
}

#[tokio::test]
async fn a_reason_of_a_megabyte_does_not_keep_an_event_from_being_delivered() {
    let played = played("a megabyte of reason").await;

    played.assert_harmless();
    played.ended("applied");
}

#[tokio::test]
async fn a_narrow_column_for_error_messages_is_widened_or_refused() {
    let database = Database::empty().await;
    let tables = TABLES.replace("error_message text", "error_message varchar(40)");
    assert_ne!(tables, TABLES);
    database.connect().await.batch_execute(&tables).await.unwrap();
    let env = Env::new().set("DATABASE_URL", database.url());
    let migrate = Launch::of("migrate").env(env).timeout(LIMIT).start().await.unwrap();

    let world = match migrate.invoke(&Value::Null).await.outcome {
        Outcome::Ok(_) => Adopted::on(database).await,
        refused => {
            assert!(format!("{refused:?}").contains("error_message"), "{refused:?}");
            return;
        }
    };

    let bad = Case {
        name: "",
        time_zone: "UTC",
        flag: "enabled = true",
        schedule: "updates = '{\"colour\": \"a longer text than forty characters\"}'",
    };
    let played = play(&world, &bad).await;
    played.assert_harmless();
    assert_eq!(played.ended("failed")["error"]["code"], "invalid_updates");
}
