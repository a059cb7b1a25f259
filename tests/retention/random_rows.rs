//! Any rows: what is deleted is what has ended before the cut-off, oldest first, and nothing else.

use std::collections::BTreeSet;

use harness::database::Database;
use harness::postgres::RETENTION_ROLE;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::retained;
use crate::migrations::schema;
use crate::roles::connect_as;
use crate::seeds::Dice;

const CASES: u64 = 40;
const STATUSES: [&str; 5] = ["pending", "applied", "failed", "cancelled", "paused"];
const ZONES: [&str; 4] = ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"];

/// A time of a row: none, or so many days and a minute ago; 1000 and -1000 are the beginning and the end of time.
type Days = Option<i32>;

fn days(dice: &mut Dice) -> Days {
    match dice.roll(8) {
        0 | 1 => None,
        2 => Some(1000),
        3 => Some(-1000),
        _ => Some(i32::try_from(dice.roll(130)).unwrap()),
    }
}

fn sql(days: Days) -> String {
    match days {
        None => "null".to_owned(),
        Some(1000) => "'-infinity'".to_owned(),
        Some(-1000) => "'infinity'".to_owned(),
        Some(days) => format!("now() - interval '{} hours 1 minute'", 24 * days),
    }
}

struct Schedule {
    id: Uuid,
    status: &'static str,
    applied: Days,
    failed: Days,
    cancelled: Days,
}

impl Schedule {
    fn roll(dice: &mut Dice) -> Self {
        let (status, id) = (*dice.pick(&STATUSES), Uuid::new_v4());
        Self { id, status, applied: days(dice), failed: days(dice), cancelled: days(dice) }
    }

    /// Days since its end, as its status says.
    fn ended(&self) -> Days {
        match self.status {
            "applied" => self.applied,
            "failed" => self.failed,
            "cancelled" => self.cancelled,
            _ => None,
        }
    }

    fn insert(&self) -> String {
        let Self { id, status, applied, failed, cancelled } = self;
        format!(
            "insert into feature_flag_schedules (id, flag_id, scheduled_at, status, updates, applied_at, failed_at, cancelled_at)
             select '{id}', id, now(), '{status}', '{{}}', {}, {}, {} from feature_flags where flag_key = 'a';",
            sql(*applied),
            sql(*failed),
            sql(*cancelled)
        )
    }
}

/// What no run may change.
async fn others(superuser: &Client) -> Vec<Value> {
    [schema::rows(superuser, "feature_flags").await, schema::rows(superuser, "audit_outbox").await].concat()
}

async fn ids(superuser: &Client) -> BTreeSet<Uuid> {
    let rows = superuser.query("select id from feature_flag_schedules", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn of_any_rows_those_that_ended_before_the_cut_off_are_deleted_oldest_first() {
    let database = retained().await;
    let superuser = database.connect_as_superuser().await;
    let setting = "set session_replication_role = replica;
        alter table feature_flag_schedules drop constraint feature_flag_schedules_status_check;
        insert into feature_flags (flag_key) values ('a'), ('b');
        insert into audit_outbox (event_id, event_type, context, schedule, dead_at, written_at)
        values (gen_random_uuid(), 'a', '{}', '{}', now(), now() - interval '300 days'),
            (gen_random_uuid(), 'a', '{}', '{}', null, now())";
    superuser.batch_execute(setting).await.unwrap();
    let before = others(&superuser).await;

    for seed in 1..=CASES {
        case(&database, &superuser, &mut Dice(seed))
            .await
            .unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    }

    assert_eq!(others(&superuser).await, before);
}

async fn case(database: &Database, superuser: &Client, dice: &mut Dice) -> Result<(), String> {
    let schedules: Vec<Schedule> = (0..dice.roll(60)).map(|_| Schedule::roll(dice)).collect();
    let inserts: String = schedules.iter().map(Schedule::insert).collect();
    superuser.batch_execute(&format!("truncate feature_flag_schedules; {inserts}")).await.unwrap();
    let (age, size) = (30 + i32::try_from(dice.roll(90)).unwrap(), 1 + i32::try_from(dice.roll(12)).unwrap());
    let client = connect_as(database, RETENTION_ROLE).await;
    client.batch_execute(&format!("set timezone = '{}'", dice.pick(&ZONES))).await.unwrap();
    let mut old: Vec<(i32, Uuid)> = schedules
        .iter()
        .filter_map(|it| it.ended().filter(|days| *days >= age).map(|days| (-days, it.id)))
        .collect();
    old.sort_unstable();
    let mut left: BTreeSet<Uuid> = schedules.iter().map(|schedule| schedule.id).collect();

    loop {
        let sql = format!("select flag_schedules_delete_ended('{age} days', {size})");
        let deleted: i32 = client.query_one(&sql, &[]).await.unwrap().get(0);
        let found = ids(superuser).await;
        let batch: Vec<(i32, Uuid)> = old.drain(..old.len().min(usize::try_from(size).unwrap())).collect();
        batch.iter().for_each(|(_, id)| assert!(left.remove(id)));
        if usize::try_from(deleted).unwrap() != batch.len() || found != left {
            return Err(format!(
                "{age} days, batches of {size}: {deleted} deleted, left {found:?}, expected {left:?}"
            ));
        }
        if batch.is_empty() {
            return Ok(());
        }
    }
}
