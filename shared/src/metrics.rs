//! Metrics of ticks and verifications in CloudWatch's embedded metric format: one line on standard output, without user data.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};

use crate::domain::time::Timestamp;
use crate::processor::TickReport;
use crate::verify::Verification;

pub const NAMESPACE: &str = "FlagSchedules";

/// A metric with its unit; `None` if it is not known.
type Metric = (&'static str, &'static str, Option<u64>);

#[must_use]
pub fn line(report: &TickReport, function: &str, now: Timestamp) -> String {
    render(
        &[
            ("SchedulesApplied", "Count", Some(report.applied)),
            ("SchedulesFailed", "Count", Some(report.failed())),
            ("SchedulesFailedInvalidUpdates", "Count", Some(report.failed_invalid_updates)),
            ("SchedulesFailedExpired", "Count", Some(report.failed_expired)),
            ("SchedulesFailedRejectedByDatabase", "Count", Some(report.failed_rejected_by_database)),
            ("SchedulesStillDue", "Count", report.still_due),
            ("FlagsLeft", "Count", Some(report.flags_left)),
            ("FlagsLocked", "Count", Some(report.flags_locked)),
            ("OldestDueScheduleAge", "Milliseconds", report.oldest_due_age_ms),
            ("AuditEventsDelivered", "Count", Some(report.audit_delivered)),
            ("AuditBacklog", "Count", report.audit_backlog),
            ("OldestAuditEventAge", "Milliseconds", report.oldest_audit_event_age_ms),
            ("AuditEventsDead", "Count", report.audit_dead),
            ("TickDuration", "Milliseconds", Some(report.duration_ms)),
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
            ("TrailChecked", "Count", findings.map(|findings| findings.checked)),
            ("TrailMissing", "Count", findings.map(|findings| findings.missing_count)),
            ("TrailUnknown", "Count", findings.map(|findings| findings.unknown_count)),
            ("TrailDifferent", "Count", findings.map(|findings| findings.different_count)),
            ("TrailDuplicates", "Count", findings.map(|findings| findings.duplicates)),
            ("TrailComplete", "Count", Some(is_complete.into())),
        ],
        function,
        now,
    )
}

fn render(metrics: &[Metric], function: &str, now: Timestamp) -> String {
    // Omit unknown counts: a zero would hide an outage.
    let known = || metrics.iter().filter_map(|(name, unit, value)| value.map(|value| (*name, *unit, value)));
    let definitions: Vec<Value> =
        known().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let mut line: Map<String, Value> =
        known().map(|(name, _, value)| (name.to_owned(), value.into())).collect();
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
