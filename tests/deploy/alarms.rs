//! The alarms: on metrics that exist, and each with a line of what to do in the operations guide.

use std::collections::BTreeSet;

use flag_schedules::domain::time::Timestamp;
use flag_schedules::metrics;
use flag_schedules::processor::TickReport;
use flag_schedules::verify::{Findings, Verification};
use serde_json::{Value, json};

use super::deployed::deployed;
use super::guide::table;
use super::template::list;
use super::text;

/// What the alarms may use of others, with the dimension: of AWS, and of the filter on the access log.
const OF_OTHERS: [(&str, &str, &str); 10] = [
    ("AWS/Lambda", "ConcurrentExecutions", "FunctionName"),
    ("AWS/ApiGateway", "4xx", "ApiId"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"),
    ("AWS/Events", "TriggeredRules", "RuleName"),
    ("AWS/Lambda", "Errors", "FunctionName"),
    ("AWS/Lambda", "Throttles", "FunctionName"),
    ("AWS/Lambda", "Duration", "FunctionName"),
    ("AWS/ApiGateway", "5xx", "ApiId"),
    ("AWS/ApiGateway", "Count", "ApiId"),
    (metrics::NAMESPACE, REFUSED, "ApiId"),
];

/// There are more alarms if there is somebody to tell.
const TOPIC: &str = "AlarmActionArns=arn:aws:sns:eu-central-1:123456789012:alarms";

const REFUSED: &str = "RefusedCallers";

#[test]
fn every_alarm_has_a_line_in_the_operations_guide_and_every_line_an_alarm() {
    let deployed = deployed(&[TOPIC]);
    let alarms = deployed.alarms();
    let named: BTreeSet<_> = alarms.values().map(|alarm| text(&alarm["AlarmName"]).to_owned()).collect();

    let lines = table("Alarms");
    let told: BTreeSet<_> =
        lines.iter().map(|line| line[0].trim_matches('`').replace("<stack>", "flags")).collect();

    assert_eq!(named, told, "left: template.yaml, right: docs/operations.md");
    assert_eq!(named.len(), alarms.len(), "two alarms of one name");
    for line in lines {
        assert!(line.len() == 3 && line.iter().all(|cell| cell.len() > 10), "too little is said: {line:?}");
    }
}

#[test]
fn every_alarm_is_on_a_metric_that_is_there() {
    let deployed = deployed(&[TOPIC]);
    let own = [
        ("ScheduleProcessorFunction", metrics_of_a_tick()),
        ("VerifyTrailFunction", metrics_of_a_verification()),
    ];
    let mut used = BTreeSet::new();
    for (id, alarm) in deployed.all("AWS::CloudWatch::Alarm") {
        let queries = list(&alarm["Metrics"]).into_iter().filter_map(|query| query.get("MetricStat"));
        let stats: Vec<_> = queries.map(|stat| &stat["Metric"]).collect();
        for metric in if stats.is_empty() { vec![alarm] } else { stats } {
            let (namespace, name) = (text(&metric["Namespace"]), text(&metric["MetricName"]));
            let dimension = &metric["Dimensions"][0];
            assert_eq!(metric["Dimensions"].as_array().map(Vec::len), Some(1), "{id}");
            if namespace == metrics::NAMESPACE && name != REFUSED {
                let of = own.iter().find(|(_, metrics)| metrics.contains(name));
                let (function, _) = of.unwrap_or_else(|| panic!("{id}: nobody tells {name}: {own:?}"));
                let expected = json!({"Name": "FunctionName", "Value": {"Ref": function}});
                assert_eq!(dimension, &expected, "{id}");
            } else {
                let known = (namespace, name, text(&dimension["Name"]));
                assert!(OF_OTHERS.contains(&known), "{id}: {known:?}");
                let value = &dimension["Value"];
                let of = text(value.get("Ref").unwrap_or(&value["Fn::GetAtt"][0]));
                assert!(deployed.has(of), "{id}: there is no {of}");
            }
            used.insert(name);
        }
    }

    for needed in [
        "Errors",
        "5xx",
        "4xx",
        "ConcurrentExecutions",
        "ApproximateNumberOfMessagesVisible",
        "TriggeredRules",
        "SchedulesFailed",
        "FlagsLeft",
        "FlagsLocked",
        REFUSED,
        "Throttles",
        "Duration",
        "OldestDueScheduleAge",
        "OldestAuditEventAge",
        "AuditEventsDead",
        "TrailMissing",
        "TrailUnknown",
        "TrailDifferent",
        "TrailComplete",
    ] {
        assert!(used.contains(needed), "nobody watches {needed}");
    }
}

/// The access log itself is tested with the API.
#[test]
fn refused_callers_are_counted_in_the_access_log() {
    let deployed = deployed(&[]);
    let filters = deployed.all("AWS::Logs::MetricFilter");
    assert_eq!(filters.keys().copied().collect::<Vec<_>>(), ["RefusedCallers"]);
    let filter = filters["RefusedCallers"];

    assert_eq!(filter["LogGroupName"], json!({"Ref": "AccessLogGroup"}));
    // In the access log every value is a text.
    assert_eq!(filter["FilterPattern"], r#"{ $.status = "401" || $.status = "403" }"#);
    let counted = json!([{
        "MetricNamespace": metrics::NAMESPACE, "MetricName": REFUSED, "MetricValue": "1", "Unit": "Count",
        "Dimensions": [{"Key": "ApiId", "Value": "$.api_id"}],
    }]);
    assert_eq!(filter["MetricTransformations"], counted);
}

#[test]
fn a_processor_that_does_not_run_raises_an_alarm() {
    let deployed = deployed(&[]);
    let silent = deployed.properties("ProcessorSilentAlarm");

    assert_eq!(silent["TreatMissingData"], "breaching");
    assert_eq!((&silent["Statistic"], &silent["Threshold"]), (&json!("SampleCount"), &json!(1)));
    assert_eq!(silent["ComparisonOperator"], "LessThanThreshold");
}

#[test]
fn a_verification_that_does_not_run_raises_an_alarm() {
    let deployed = deployed(&[]);
    let unverified = deployed.properties("TrailUnverifiedAlarm");

    assert_eq!(unverified["TreatMissingData"], "breaching");
    assert_eq!((&unverified["Statistic"], &unverified["Threshold"]), (&json!("Maximum"), &json!(1)));
    assert_eq!(unverified["ComparisonOperator"], "LessThanThreshold");
    // Longer than a day, so that a run a few seconds later than the day before is no alarm.
    let number = |name: &str| unverified[name].as_u64().expect("a number");
    assert_eq!(number("Period") * number("EvaluationPeriods"), 30 * 60 * 60);
    assert_eq!(deployed.properties("VerifyTrailFunctionDaily")["ScheduleExpression"], "rate(1 day)");
    // EventBridge's own event is no window.
    assert_eq!(deployed.properties("VerifyTrailFunctionDaily")["Targets"][0]["Input"], "{}");
}

#[test]
fn alarms_tell_whom_the_parameter_names() {
    let topics =
        json!(["arn:aws:sns:eu-central-1:123456789012:a", "arn:aws:sns:eu-central-1:123456789012:b"]);
    let names = list(&topics).into_iter().map(text).collect::<Vec<_>>().join(",");
    let (somebody, nobody) = (deployed(&[&format!("AlarmActionArns={names}")]), deployed(&[]));
    for (id, alarm) in somebody.alarms() {
        assert_eq!((&alarm["AlarmActions"], &alarm["OKActions"]), (&topics, &topics), "{id}");
        if nobody.has(id) {
            assert_eq!(nobody.properties(id).get("AlarmActions"), None, "{id}");
        } else {
            assert_eq!(id, "AuditLogWeakenedAlarm", "its rule tells somebody");
        }
    }
}

#[test]
fn the_first_5xx_and_the_first_failed_schedule_raise_alarms() {
    let deployed = deployed(&[]);
    for id in ["ServerErrorsAlarm", "SchedulesFailedAlarm"] {
        let alarm = deployed.properties(id);
        let first =
            json!([alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]]);
        assert_eq!(first, json!(["Sum", 1, 1, 60]), "{id}");
    }
}

#[test]
fn without_a_database_one_alarm_says_so() {
    let deployed = deployed(&[]);
    let gone = text(&deployed.properties("DatabaseGoneAlarm")["AlarmRule"]);

    assert_eq!(gone, r#"ALARM("${ServerErrorsAlarm}") AND ALARM("${ProcessorErrorsAlarm}")"#);
}

#[test]
fn concurrency_near_its_limit_raises_an_alarm_if_there_is_a_limit() {
    let (limited, unlimited) =
        (deployed(&["ApiReservedConcurrency=7"]), deployed(&["ApiReservedConcurrency=off"]));

    let alarm = limited.properties("ConcurrencyAlarm");
    assert_eq!(alarm["Metrics"][0]["Expression"], "100 * MAX(METRICS()) / 7");
    assert_eq!(
        (&alarm["Threshold"], &alarm["ComparisonOperator"]),
        (&json!(80), &json!("GreaterThanThreshold"))
    );
    assert!(!unlimited.has("ConcurrencyAlarm"));
}

#[test]
fn ticks_can_be_stopped_and_nobody_is_woken_for_it() {
    for (enabled, state) in [("true", "ENABLED"), ("false", "DISABLED")] {
        let deployed = deployed(&[&format!("TickEnabled={enabled}")]);

        assert_eq!(deployed.properties("ScheduleProcessorFunctionTick")["State"], state);
        let silent = &deployed.properties("ProcessorSilentAlarm")["ActionsEnabled"];
        assert_eq!(silent, &json!(enabled == "true"));
    }
}

/// The names of all metrics that a tick tells.
pub fn metrics_of_a_tick() -> BTreeSet<String> {
    let report = TickReport {
        still_due: Some(0),
        oldest_due_age_ms: Some(0),
        audit_backlog: Some(0),
        oldest_audit_event_age_ms: Some(0),
        audit_dead: Some(0),
        ..TickReport::default()
    };
    let now = Timestamp::parse("2026-02-09T09:00:00Z").expect("it is a time");
    names(&metrics::line(&report, "f", now))
}

/// The names of all metrics that a verification tells.
pub fn metrics_of_a_verification() -> BTreeSet<String> {
    let now = Timestamp::parse("2026-02-09T09:00:00Z").expect("it is a time");
    let verification =
        Verification { from: now, to: now, complete: true, resume: None, findings: Findings::default() };
    names(&metrics::verification_line(Some(&verification), "f", now))
}

fn names(line: &str) -> BTreeSet<String> {
    let line: Value = serde_json::from_str(line).expect("a metric line is JSON");
    let metrics = list(&line["_aws"]["CloudWatchMetrics"][0]["Metrics"]);
    metrics.into_iter().map(|metric| text(&metric["Name"]).to_owned()).collect()
}
