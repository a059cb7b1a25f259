//! One case: arrange, put the faults in, call, take them out, let the processor recover, and see what there is.

use std::fmt;
use std::time::{Duration, Instant};

use harness::api::tick_event;
use harness::lambda::Outcome;
use serde_json::Value;

use super::fault_kinds::Fault;
use super::lane::{Call, Lane};
use super::scenario::Scenario;

/// How long recovering may take once the faults are gone.
const RECOVERY: Duration = Duration::from_secs(25);

/// What is called, and what goes wrong meanwhile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    pub scenario: Scenario,
    pub faults: Vec<Fault>,
}

/// A schedule of the case, with its flag.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub flag_id: String,
    pub flag: String,
    pub status: String,
    pub due: bool,
    pub created_by: Option<String>,
    pub cancelled_by: Option<String>,
    pub key: Option<String>,
    pub error_code: Option<String>,
    pub enabled: bool,
    pub percentage: i32,
}

/// A tick of the recovery.
#[derive(Debug)]
pub struct Recovery {
    /// What was due before it, and what still was after it.
    pub due: [i64; 2],
    pub call: Call,
}

/// All that there is to see of a case that is over.
pub struct Observed {
    /// The begin of the keys of its flags.
    pub name: String,
    pub first: Call,
    /// What was due, of which flags, when the first call was over and the faults were still there.
    pub left: Vec<Row>,
    pub before: Vec<Row>,
    /// The same request again, if the first was answered with 5xx.
    pub retry: Option<Call>,
    pub ticks: Vec<Recovery>,
    pub recovered: bool,
    pub rows: Vec<Row>,
    /// Undelivered and dead events in the end.
    pub outbox: i64,
    /// What CloudWatch Logs has of the case's flags, in the order of arrival.
    pub events: Vec<Value>,
    /// Lines that the functions have logged.
    pub lines: Vec<String>,
    pub busy: Vec<String>,
    /// Rules whose message did not come.
    pub unreached: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        write!(f, "{}:{}", self.scenario, faults.join("+"))
    }
}

impl Case {
    /// The faults with those of the scenario.
    pub fn all_faults(&self) -> Vec<Fault> {
        self.scenario.base().into_iter().chain(self.faults.iter().cloned()).collect()
    }

    /// Plays the case.
    pub async fn play(&self, lane: &Lane, number: usize) -> Observed {
        let name = format!("c{number}");
        let function = self.scenario.function();
        let events_before = lane.cloudwatch.stored().len();
        let lines_before = lines(lane, &[]).await.iter().map(Vec::len).collect::<Vec<_>>();
        let schedule = lane.arrange(self.scenario, &name).await;
        let event = self.scenario.event(&name, &schedule, &lane.token);
        let faults = self.all_faults();
        let before = rows(lane, &name).await;

        lane.arm(&faults, &name).await;
        let first = lane.call(function, &event).await;
        let rules = faults.iter().filter(|fault| matches!(fault, Fault::Message(..))).count();
        let unreached = rules - lane.interceptor.fired().len();
        // A table that is locked cannot be looked at.
        let locked = faults.iter().any(|fault| matches!(fault, Fault::TableLocked(_)));
        let left = if locked { Vec::new() } else { rows(lane, &name).await };
        lane.clear(&faults).await;

        let failed =
            matches!(&first.outcome, Outcome::Ok(answer) if answer["statusCode"].as_u64() >= Some(500));
        let retry = match failed && self.scenario.is_change() {
            true => Some(lane.call(function, &event).await),
            false => None,
        };
        // What was cut off may still be at work on the server, and commit.
        lane.busy_connections().await;
        let (ticks, recovered) = recover(lane, &name).await;
        let busy = lane.busy_connections().await;
        let sql = "select count(*) from audit_outbox";
        let outbox = lane.admin.query_one(sql, &[]).await.unwrap().get(0);
        let prefix = format!("{name}-");
        let stored = lane.cloudwatch.stored().split_off(events_before);
        let of_case = |event: &Value| event["flag_key"].as_str().is_some_and(|key| key.starts_with(&prefix));
        let events = stored.iter().map(|stored| stored.json()).filter(of_case).collect();
        Observed {
            first,
            left,
            before,
            retry,
            ticks,
            recovered,
            rows: rows(lane, &name).await,
            outbox,
            events,
            lines: lines(lane, &lines_before).await.into_iter().flatten().collect(),
            busy,
            unreached,
            name,
        }
    }
}

/// Ticks until nothing of the case is due and the outbox is empty.
async fn recover(lane: &Lane, name: &str) -> (Vec<Recovery>, bool) {
    let sql = "select
            (select count(*) from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
             where f.flag_key like $1 and s.status = 'pending' and s.scheduled_at <= now()),
            (select count(*) from audit_outbox where dead_at is null)";
    let deadline = Instant::now() + RECOVERY;
    let mut ticks: Vec<Recovery> = Vec::new();
    loop {
        let row = lane.admin.query_one(sql, &[&format!("{name}-%")]).await.unwrap();
        let (due, waiting): (i64, i64) = (row.get(0), row.get(1));
        if let Some(last) = ticks.last_mut() {
            last.due[1] = due;
        }
        if due == 0 && waiting == 0 {
            return (ticks, true);
        }
        if Instant::now() > deadline {
            return (ticks, false);
        }
        lane.age_outbox().await;
        let call = lane.call("schedule-processor", &tick_event()).await;
        ticks.push(Recovery { due: [due, due], call });
    }
}

/// The schedules of the case's flags, each flag's in the order of their application.
async fn rows(lane: &Lane, name: &str) -> Vec<Row> {
    let sql =
        "select s.id::text, f.id::text, f.flag_key, s.status::text, s.scheduled_at <= now(), s.created_by,
            s.cancelled_by, s.idempotency_key, s.error_code, f.enabled, f.rollout_percentage
        from feature_flag_schedules s join feature_flags f on f.id = s.flag_id
        where f.flag_key like $1
        order by f.flag_key, s.scheduled_at, s.created_at, s.id";
    let rows = lane.admin.query(sql, &[&format!("{name}-%")]).await.unwrap();
    let row = |row: &tokio_postgres::Row| Row {
        id: row.get(0),
        flag_id: row.get(1),
        flag: row.get(2),
        status: row.get(3),
        due: row.get(4),
        created_by: row.get(5),
        cancelled_by: row.get(6),
        key: row.get(7),
        error_code: row.get(8),
        enabled: row.get(9),
        percentage: row.get(10),
    };
    rows.iter().map(row).collect()
}

/// What each function has logged beyond so many lines.
async fn lines(lane: &Lane, beyond: &[usize]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let functions = ["create-schedule", "cancel-schedule", "list-schedules", "schedule-processor"];
    for (at, name) in functions.into_iter().enumerate() {
        let mut lines = lane.api.function(name).await.logs();
        all.push(lines.split_off(beyond.get(at).copied().unwrap_or(0).min(lines.len())));
    }
    all
}
