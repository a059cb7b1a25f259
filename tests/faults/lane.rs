//! A service of its own for a series of cases: database, proxy, CloudWatch Logs and one process of each function with the
//! database role of its own, all of them reused, and the faults put in and taken out.

use std::time::{Duration, Instant};

use harness::api::{Api, checked, create_request};
use harness::cloudwatch::limits::Rejected;
use harness::cloudwatch::{self, CloudWatch};
use harness::database::Database;
use harness::gateway::Response;
use harness::interceptor::{Interceptor, RAISE, Rule};
use harness::lambda::{End, Function, Outcome};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::fault_kinds::{Fault, Level, OUTBOX};
use super::scenario::Scenario;

const CONTROL: &str = include_str!("control.sql");
/// How long anything may take that is not the subject of a case.
const LIMIT: Duration = Duration::from_secs(30);

/// A call of a function that is over.
#[derive(Clone, Debug)]
pub struct Call {
    pub outcome: Outcome,
    /// When the caller had the answer.
    pub answered_after: Duration,
    /// When the function was at rest again.
    pub done_after: Duration,
    pub end: Option<End>,
}

/// The service of a series of cases.
pub struct Lane {
    pub api: Api,
    pub interceptor: Interceptor,
    pub cloudwatch: CloudWatch,
    /// A superuser's connection.
    pub admin: Client,
    pub token: String,
    /// Whoever holds locks.
    holder: Client,
    /// Creates schedules past all faults, and does not deliver.
    writer: Function,
}

impl Lane {
    pub async fn start() -> Self {
        let database = Database::migrated().await;
        database.grant_to_roles().await;
        let admin = database.connect_as_superuser().await;
        admin.batch_execute(&format!("{RAISE}; {CONTROL}")).await.unwrap();
        let holder = database.connect_as_superuser().await;
        let interceptor = Interceptor::before(&database).await;
        let cloudwatch = CloudWatch::start().await;
        let direct = database.url_as("flag_schedules_api");
        let setup = Api::with().cloudwatch(&cloudwatch).database(database);
        let setup = setup.env("schedule-processor", "TICK_WATCH", Some("planned"));
        let api = setup.as_roles(&interceptor.url()).start().await;
        let env = api.env("create-schedule").set("DATABASE_URL", direct);
        let writer = checked("create-schedule").env(env).refuse_extensions(500).start().await.unwrap();
        let token = api.admin();
        Self { api, interceptor, cloudwatch, admin, token, holder, writer }
    }

    /// Makes the flags of a case, `NAME-a` to `NAME-c`, and what the scenario needs of them; gives the id of the one
    /// schedule that is there.
    pub async fn arrange(&self, scenario: Scenario, name: &str) -> String {
        let due = "now() - interval '1 minute'";
        let rows = match scenario {
            Scenario::Create | Scenario::CreateAgain => String::new(),
            Scenario::Cancel | Scenario::List | Scenario::Get | Scenario::ListAll | Scenario::Verify => {
                format!("('a', now() + interval '1 hour', '{}')", r#"{"enabled": true}"#)
            }
            Scenario::Tick
            | Scenario::TickAgain
            | Scenario::TickLocked
            | Scenario::TickRejected
            | Scenario::TickWaits => format!(
                "('a', {due} - interval '2 seconds', '{}'), ('a', {due}, '{}'), ('b', {due}, '{}'), ('c', {due}, '{}')",
                r#"{"enabled": true, "rollout_percentage": 10}"#,
                r#"{"rollout_percentage": 40}"#,
                r#"{"enabled": true}"#,
                r#"{"color": "red"}"#
            ),
        };
        let rows = match scenario {
            Scenario::TickWaits => {
                format!(
                    "{rows}, ('b', now() + interval '700 milliseconds', '{}')",
                    r#"{"rollout_percentage": 70}"#
                )
            }
            _ => rows,
        };
        let flags = format!(
            "insert into feature_flags (flag_key) select '{name}-' || f from unnest(array['a', 'b', 'c']) f"
        );
        self.admin.batch_execute(&flags).await.unwrap();
        if scenario == Scenario::Verify {
            self.forge_event().await;
        }
        if scenario.is_tick() {
            let body =
                json!({"scheduled_at": crate::support::in_seconds(3600), "updates": {"enabled": false}});
            let request = create_request(&format!("{name}-b"), "", &body).bearer(&self.token);
            let stayed = Response::of(self.writer.invoke(&request.event()).await);
            assert_eq!(stayed.status, 201, "{stayed:?}");
            self.age_outbox().await;
        }
        if rows.is_empty() {
            return String::new();
        }
        let schedules = format!(
            "insert into feature_flag_schedules (flag_id, scheduled_at, updates)
             select f.id, s.scheduled_at, s.updates::jsonb
             from (values {rows}) as s (flag, scheduled_at, updates)
             join feature_flags f on f.flag_key = '{name}-' || s.flag
             returning id::text"
        );
        self.admin.query(&schedules, &[]).await.unwrap()[0].get(0)
    }

    /// Writes an event of no schedule to the log, so that a verification looks for its row.
    async fn forge_event(&self) {
        let event = json!({
            "event_id": uuid::Uuid::now_v7(), "event_type": "flag_schedule.created", "schedule_id": uuid::Uuid::now_v7(),
        });
        let before_the_end_of_the_window = harness::clock::now() - chrono::TimeDelta::minutes(10);
        let body = json!({
            "logGroupName": self.api.group.name(),
            "logStreamName": "create-schedule",
            "logEvents": [{
                "timestamp": before_the_end_of_the_window.timestamp_millis(), "message": event.to_string(),
            }],
        });
        self.api.group.logs().call("PutLogEvents", body).await.unwrap();
    }

    /// Makes what waits in the outbox old enough for the sweep.
    pub async fn age_outbox(&self) {
        let sql = "begin; set local session_replication_role = replica;
            update audit_outbox set written_at = written_at - interval '1 minute'; commit";
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// Puts faults in, aimed at the flag `NAME-a`.
    pub async fn arm(&self, faults: &[Fault], name: &str) {
        let mut rules = Vec::new();
        let is_away = faults.contains(&Fault::OutboxMissing);
        let now_called = |table| if is_away && table == OUTBOX { "audit_outbox_away" } else { table };
        // Locks last: the others have to get at the tables.
        let (locks, others): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| fault.is_lock());
        for fault in others.into_iter().chain(locks) {
            match fault {
                Fault::Message(point, act) => {
                    let (label, occurrence) = (point.label.clone(), point.occurrence);
                    rules.push(Rule { label, occurrence, act: *act });
                }
                Fault::Trigger(table, operation, level, code) => {
                    let level = if *level == Level::Row { "ROW" } else { "STATEMENT" };
                    // In the outbox a row has the flag's key in it, elsewhere its id.
                    let needle = match *table {
                        OUTBOX => format!("'{name}-a'"),
                        _ => format!("(select id::text from feature_flags where flag_key = '{name}-a')"),
                    };
                    let sql = format!(
                        "insert into faults.armed select '{table}', '{operation}', '{level}', {needle}, '{code}'"
                    );
                    self.admin.batch_execute(&sql).await.unwrap();
                }
                Fault::TableLocked(table) => {
                    let sql = format!("begin; lock table {} in access exclusive mode", now_called(table));
                    self.holder.batch_execute(&sql).await.unwrap();
                }
                Fault::RowsLocked(table) => {
                    let rows = match *table {
                        OUTBOX => String::new(),
                        super::fault_kinds::FLAGS => format!("where flag_key = '{name}-a'"),
                        _ => format!(
                            "where flag_id = (select id from feature_flags where flag_key = '{name}-a')"
                        ),
                    };
                    let sql = format!("begin; select from {} {rows} for update", now_called(table));
                    self.holder.batch_execute(&sql).await.unwrap();
                }
                Fault::FlagsLocked => {
                    self.holder.batch_execute("begin; select from feature_flags for update").await.unwrap();
                }
                Fault::OutboxMissing => {
                    let sql = "alter table audit_outbox rename to audit_outbox_away";
                    self.admin.batch_execute(sql).await.unwrap();
                }
                Fault::OutboxRefused => {
                    let sql =
                        "revoke insert on audit_outbox from flag_schedules_api, flag_schedules_processor";
                    self.admin.batch_execute(sql).await.unwrap();
                }
                Fault::LogsSlow => self.cloudwatch.slow_down(Duration::from_secs(3)),
                Fault::LogsDown => self.cloudwatch.from_now_on(cloudwatch::Fault::Cut),
                Fault::LogsReject => {
                    let rejected = Rejected { too_old_end: Some(1), ..Rejected::default() };
                    self.cloudwatch.next(1, cloudwatch::Fault::Reject(rejected));
                    self.cloudwatch.from_now_on(cloudwatch::Fault::UNAVAILABLE);
                }
                Fault::LogsDenied => self.cloudwatch.from_now_on(cloudwatch::Fault::DENY),
            }
        }
        self.interceptor.begin(rules);
    }

    /// Takes all faults out.
    pub async fn clear(&self, faults: &[Fault]) {
        self.interceptor.release();
        self.cloudwatch.heal();
        if faults.iter().any(Fault::is_lock) {
            self.holder.batch_execute("rollback").await.unwrap();
        }
        for fault in faults {
            let sql = match fault {
                Fault::Trigger(..) => "delete from faults.armed",
                Fault::OutboxMissing => "alter table audit_outbox_away rename to audit_outbox",
                Fault::OutboxRefused => {
                    "grant insert (event_id, event_type, context, schedule) on audit_outbox
                     to flag_schedules_api, flag_schedules_processor"
                }
                _ => continue,
            };
            self.admin.batch_execute(sql).await.unwrap();
        }
        self.interceptor.begin(Vec::new());
    }

    /// Calls a function and waits until it is at rest.
    pub async fn call(&self, function: &str, event: &Value) -> Call {
        let function = self.api.function(function).await;
        let began = Instant::now();
        let invocation = function.invoke(event).await;
        let settled = function.settled(LIMIT).await;
        Call {
            outcome: invocation.outcome,
            answered_after: invocation.response_after,
            done_after: settled.map_or_else(|| began.elapsed(), |settled| settled.done_after),
            end: settled.map(|settled| settled.end),
        }
    }

    /// The service's connections that are at work or in a transaction, once they had a moment to end.
    pub async fn busy_connections(&self) -> Vec<String> {
        let sql = "select state || ': ' || left(query, 60) from pg_stat_activity
            where datname = current_database() and application_name = 'flag-schedules' and state <> 'idle'";
        let deadline = Instant::now() + Duration::from_secs(6);
        loop {
            let rows = self.admin.query(sql, &[]).await.unwrap();
            if rows.is_empty() || Instant::now() > deadline {
                return rows.iter().map(|row| row.get(0)).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
