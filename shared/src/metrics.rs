//! Metrics of ticks and verifications in CloudWatch's embedded metric format: one line on standard output, without user data.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};

use crate::domain::time::Timestamp;
use crate::processor::TickReport;
use crate::verify::Verification;

pub const NAMESPACE: &str = "FlagSchedules";

/// A metric with its unit and values; none if they are not known.
type Metric = (&'static str, &'static str, Vec<u64>);

/// Most values of a metric in one line.
const VALUES_MAX: usize = 100;

fn one(value: Option<u64>) -> Vec<u64> {
    value.into_iter().collect()
}

#[must_use]
pub fn line(report: &TickReport, function: &str, now: Timestamp) -> String {
    render(
        &[
            ("SchedulesApplied", "Count", one(Some(report.applied))),
            ("SchedulesFailed", "Count", one(Some(report.failed()))),
            ("SchedulesFailedInvalidUpdates", "Count", one(Some(report.failed_invalid_updates))),
            ("SchedulesFailedExpired", "Count", one(Some(report.failed_expired))),
            ("SchedulesFailedUnexpectedState", "Count", one(Some(report.failed_unexpected_state))),
            ("SchedulesFailedRejectedByDatabase", "Count", one(Some(report.failed_rejected_by_database))),
            ("SchedulesStillDue", "Count", one(report.still_due)),
            ("FlagsLeft", "Count", one(Some(report.flags_left))),
            ("FlagsLocked", "Count", one(Some(report.flags_locked))),
            ("OldestDueScheduleAge", "Milliseconds", one(report.oldest_due_age_ms)),
            ("AuditEventsDelivered", "Count", one(Some(report.audit_delivered))),
            ("AuditBacklog", "Count", one(report.audit_backlog)),
            ("OldestAuditEventAge", "Milliseconds", one(report.oldest_audit_event_age_ms)),
            ("AuditEventsDead", "Count", one(report.audit_dead)),
            // Of all schedules, so that CloudWatch can show percentiles.
            ("ScheduleLateness", "Milliseconds", report.lateness.sample(VALUES_MAX)),
            ("TriggerDelay", "Milliseconds", one(report.trigger_delay_ms)),
            ("TickDuration", "Milliseconds", one(Some(report.working_ms()))),
            ("TickWaiting", "Milliseconds", one(Some(report.waiting_ms))),
        ],
        function,
        now,
    )
}

/// Of a verification; `None` of one that failed.
#[must_use]
pub fn verification_line(verification: Option<&Verification>, function: &str, now: Timestamp) -> String {
    let findings = verification.map(|verification| &verification.findings);
    let is_complete = verification.is_some_and(|verification| verification.complete);
    render(
        &[
            ("TrailChecked", "Count", one(findings.map(|findings| findings.checked))),
            ("TrailMissing", "Count", one(findings.map(|findings| findings.missing_count))),
            ("TrailUnknown", "Count", one(findings.map(|findings| findings.unknown_count))),
            ("TrailDifferent", "Count", one(findings.map(|findings| findings.different_count))),
            ("TrailDuplicates", "Count", one(findings.map(|findings| findings.duplicates))),
            ("TrailComplete", "Count", one(Some(is_complete.into()))),
        ],
        function,
        now,
    )
}

fn render(metrics: &[Metric], function: &str, now: Timestamp) -> String {
    // Omit unknown counts: a zero would hide an outage.
    let known = || metrics.iter().filter(|(_, _, values)| !values.is_empty());
    let definitions: Vec<Value> =
        known().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let value = |values: &[u64]| match values {
        [value] => json!(value),
        values => json!(values),
    };
    let mut line: Map<String, Value> =
        known().map(|(name, _, values)| ((*name).to_owned(), value(values))).collect();
    line.insert("FunctionName".to_owned(), function.into());
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.to_utc().timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": definitions,
            }],
        }),
    );
    Value::Object(line).to_string()
}

/// Writes to standard output, where Lambda's log agent extracts the metrics.
#[expect(clippy::print_stdout, reason = "the embedded metric format is a line on standard output")]
pub fn print(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_that_failed_is_not_complete_and_found_nothing_out() {
        let now = Timestamp::parse("2026-02-09T09:00:00Z").unwrap();

        let line: Value = serde_json::from_str(&verification_line(None, "f", now)).unwrap();

        assert_eq!(line["TrailComplete"], 0);
        assert_eq!(line.get("TrailMissing"), None);
    }

    #[test]
    fn every_metric_is_defined_and_given_and_what_is_unknown_is_left_out() {
        let report =
            TickReport { applied: 3, failed_expired: 2, audit_backlog: Some(0), ..TickReport::default() };

        let line: Value =
            serde_json::from_str(&line(&report, "f", Timestamp::parse("2026-02-09T09:00:00Z").unwrap()))
                .unwrap();

        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert!(metrics.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_u64()), "{line}");
        assert_eq!(line["SchedulesApplied"], 3);
        assert_eq!(line["SchedulesFailed"], 2);
        assert_eq!(line["AuditBacklog"], 0);
        assert_eq!(line.get("SchedulesStillDue"), None);
        assert_eq!(line["_aws"]["Timestamp"], 1_770_627_600_000_i64);
    }
}
