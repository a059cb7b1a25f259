//! A service with a strict CloudWatch Logs, its verification, and what an intruder with every right can do.

use std::time::Duration;

use harness::api::Api;
use harness::cloudwatch::CloudWatch;
use harness::lambda::Invocation;
use serde_json::{Value, json};

use crate::support::{in_seconds, text};

pub const FLAG: &str = "new-checkout";

pub struct World {
    pub cloudwatch: CloudWatch,
    pub api: Api,
    pub token: String,
}

impl World {
    pub async fn start() -> Self {
        let cloudwatch = CloudWatch::start().await;
        let setup = Api::with().cloudwatch(&cloudwatch);
        let api =
            setup.launch("verify-trail", |launch| launch.timeout(Duration::from_secs(120))).start().await;
        api.flag(FLAG, "production").await;
        let token = api.admin();
        Self { cloudwatch, api, token }
    }

    /// Creates a schedule; gives its id.
    pub async fn create(&self, body: &Value) -> String {
        let created = self.api.create(&self.token, FLAG, "", body).await;
        assert_eq!(created.status, 201, "{created:?}");
        text(&created.json, "id").to_owned()
    }

    pub async fn cancel(&self, id: &str) {
        let cancelled = self.api.cancel(&self.token, FLAG, id, "reason=not%20yet").await;
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
    }

    /// Ticks until nothing is left in the outbox.
    pub async fn deliver(&self) {
        self.cloudwatch.heal();
        self.api.settle().await;
        for _ in 0..20 {
            self.sql("update audit_outbox set written_at = written_at - interval '1 minute'").await;
            let report = self.api.tick().await.value();
            if report["audit_backlog"] == 0 && report["still_due"] == 0 {
                return;
            }
        }
        panic!("the backlog does not drain");
    }

    /// Statements that no trigger notices.
    pub async fn sql(&self, sql: &str) {
        let client = self.api.database.connect_as_superuser().await;
        let sql = format!("set session_replication_role = replica; {sql}");
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Writes an event to the log, as a function could.
    pub async fn forge(&self, event: &Value) {
        let timestamp = chrono::DateTime::parse_from_rfc3339(text(event, "occurred_at")).unwrap();
        let body = json!({
            "logGroupName": self.api.group.name(),
            "logStreamName": "create-schedule",
            "logEvents": [{"timestamp": timestamp.timestamp_millis(), "message": event.to_string()}],
        });
        self.api.group.logs().call("PutLogEvents", body).await.unwrap();
    }

    /// The event of a transition.
    pub fn event(&self, schedule: &str, event_type: &str) -> Value {
        let events = self.cloudwatch.events();
        let fits = |event: &&Value| {
            event["schedule_id"] == schedule && event["event_type"] == format!("flag_schedule.{event_type}")
        };
        events.iter().find(fits).unwrap_or_else(|| panic!("no {event_type} of {schedule}")).clone()
    }

    /// Verifies the last hour up to now.
    pub async fn verify(&self) -> Value {
        self.api.settle().await;
        // What happened in this millisecond is not part of a window that ends now.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.invoke(&json!({"from": in_seconds(-3600), "to": in_seconds(0)})).await.value()
    }

    pub async fn invoke(&self, input: &Value) -> Invocation {
        self.api.function("verify-trail").await.invoke(input).await
    }

    /// How many transitions the database knows.
    pub async fn transitions(&self) -> i64 {
        let sql = "select count(*) + count(*) filter (where status <> 'pending') from feature_flag_schedules";
        self.api.database.connect().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// What turns a flag on in so many seconds.
pub fn turn_on_in(seconds: i64) -> Value {
    json!({
        "scheduled_at": in_seconds(seconds),
        "updates": {"enabled": true, "rollout_percentage": 25},
        "reason": "line\n\"25\" \u{1b}[1m \u{202e}",
    })
}

/// The same, but it will be too late.
pub fn too_late_in(seconds: i64) -> Value {
    let mut body = turn_on_in(seconds);
    body["apply_by"] = json!(
        (harness::clock::now() + chrono::TimeDelta::milliseconds(seconds * 1000 + 1))
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    );
    body
}

/// Here rows must not be moved in time, for that is what the verification finds.
pub async fn wait_until_due() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[track_caller]
pub fn assert_no_findings(result: &Value) {
    for list in ["missing", "unknown", "different"] {
        assert_eq!(result[list], json!([]), "{result:#}");
        assert_eq!(result[format!("{list}_count")], 0, "{result:#}");
    }
    assert_eq!((&result["complete"], &result["resume"]), (&json!(true), &Value::Null), "{result:#}");
}
