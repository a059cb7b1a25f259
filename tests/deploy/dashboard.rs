//! The dashboard: what it shows exists, and it shows every alarm and every metric.

use std::collections::{BTreeMap, BTreeSet};

use flag_schedules::metrics;

use super::alarms::{metrics_of_a_tick, metrics_of_a_verification};
use super::dashboard_body::{Metric, Widget, body, deployments, reference, widgets};
use super::deployed::{Deployed, deployed};
use super::guide::{document, table};
use super::template::list;
use super::text;

/// The metrics of AWS, as documented: namespace, name, dimension.
const OF_AWS: [(&str, &str, &str); 11] = [
    ("AWS/ApiGateway", "4xx", "ApiId"),
    ("AWS/ApiGateway", "5xx", "ApiId"),
    ("AWS/ApiGateway", "Count", "ApiId"),
    ("AWS/ApiGateway", "IntegrationLatency", "ApiId"),
    ("AWS/ApiGateway", "Latency", "ApiId"),
    ("AWS/Events", "FailedInvocations", "RuleName"),
    ("AWS/Lambda", "ConcurrentExecutions", "FunctionName"),
    ("AWS/Lambda", "Duration", "FunctionName"),
    ("AWS/Lambda", "Errors", "FunctionName"),
    ("AWS/Lambda", "Throttles", "FunctionName"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"),
];

/// The resource that a dimension names, and what names it: its `Ref`, or an attribute.
const DIMENSIONS: [(&str, &str, &str); 4] = [
    ("ApiId", "AWS::ApiGatewayV2::Api", ""),
    ("FunctionName", "AWS::Lambda::Function", ""),
    ("QueueName", "AWS::SQS::Queue", ".QueueName"),
    ("RuleName", "AWS::Events::Rule", ""),
];

/// Metrics that the service emits and the dashboard does not show, each with the reason.
const LEFT_OUT: [(&str, &str); 0] = [];
/// Functions whose errors, throttles and concurrency it does not show, each with the reason.
const FUNCTIONS_LEFT_OUT: [(&str, &str); 2] = [
    ("MigrateFunction", "CloudFormation reports its errors"),
    ("CheckDeploymentFunction", "CloudFormation reports its errors"),
];

#[test]
fn whatever_the_dashboard_refers_to_is_deployed() {
    for deployed in deployments() {
        let body = body(&deployed).to_string();
        for rest in body.split("${").skip(1) {
            let (inside, _) = rest.split_once('}').expect("a reference ends");
            let id = inside.split('.').next().unwrap_or_default();
            assert!(deployed.has(id), "there is no {inside}");
        }
    }
}

#[test]
fn every_alarm_is_on_the_dashboard() {
    for deployed in deployments() {
        let there: BTreeSet<_> = deployed.alarms().into_keys().collect();

        let widgets = widgets(&deployed);
        let alarms = widgets.iter().filter_map(|widget| widget.properties.get("alarms")).flat_map(list);
        let arns: Vec<_> = alarms.map(text).collect();
        let shown: BTreeSet<_> = arns
            .iter()
            .filter_map(|arn| reference(arn).filter(|(_, attribute)| *attribute == ".Arn"))
            .map(|(id, _)| id)
            .collect();

        assert_eq!(there, shown, "left: template.yaml, right: its dashboard");
        assert_eq!(arns.len(), shown.len(), "no ARN of an alarm, or one twice: {arns:?}");
    }
}

#[test]
fn every_metric_on_the_dashboard_is_emitted_with_its_dimension() {
    for deployed in deployments() {
        let emitted = emitted(&deployed);
        for widget in widgets(&deployed) {
            for metric in widget.metrics() {
                let Metric { namespace, name, dimension, value, .. } = metric;
                let place = format!("{}: {namespace} {name} {dimension} {value}", widget.title());
                let (id, attribute) = reference(value).unwrap_or_else(|| panic!("{place}: not a resource"));
                let named = DIMENSIONS.iter().find(|(known, ..)| *known == dimension);
                let (_, kind, name_of_it) = named.unwrap_or_else(|| panic!("{place}: no such dimension"));
                assert!(deployed.all(kind).contains_key(id), "{place}: there is no such {kind}");
                assert_eq!(attribute, *name_of_it, "{place}");
                if namespace == metrics::NAMESPACE {
                    let source = emitted.get(name).unwrap_or_else(|| panic!("{place}: nothing emits it"));
                    assert_eq!((dimension, id), (source.0.as_str(), source.1.as_str()), "{place}");
                } else {
                    assert!(OF_AWS.contains(&(namespace, name, dimension)), "{place}: AWS has none");
                }
            }
        }
    }
}

/// The service's own metrics with the dimension, and the resource that it names.
fn emitted(deployed: &Deployed) -> BTreeMap<String, (String, String)> {
    let of = |names: BTreeSet<String>, function: &str| {
        let source = ("FunctionName".to_owned(), function.to_owned());
        names.into_iter().map(move |name| (name, source.clone())).collect::<Vec<_>>()
    };
    // From the source, because a line has only the metrics that are known.
    let source = document("shared/src/metrics.rs");
    let (source, _) = source.split_once("#[cfg(test)]").expect("the tests are at the end");
    let (tick, verification) = source.split_once("pub fn verification_line").expect("it has both lines");
    let (tick, verification) = (names(tick), names(verification));
    assert!(tick.is_superset(&metrics_of_a_tick()), "{tick:?}");
    assert!(verification.is_superset(&metrics_of_a_verification()), "{verification:?}");
    let mut emitted: BTreeMap<_, _> = of(tick, "ScheduleProcessorFunction").into_iter().collect();
    emitted.extend(of(verification, "VerifyTrailFunction"));
    for (id, filter) in deployed.all("AWS::Logs::MetricFilter") {
        for counted in list(&filter["MetricTransformations"]) {
            assert_eq!(counted["MetricNamespace"], metrics::NAMESPACE, "{id}");
            let dimensions = list(&counted["Dimensions"]);
            let [dimension] = dimensions[..] else { panic!("{id} has not one dimension") };
            // The access log names the API in `api_id`.
            assert_eq!(
                (&dimension["Key"], &dimension["Value"]),
                (&"ApiId".into(), &"$.api_id".into()),
                "{id}"
            );
            emitted.insert(text(&counted["MetricName"]).to_owned(), ("ApiId".to_owned(), "Api".to_owned()));
        }
    }
    emitted
}

/// The metrics that a part of the source names, each with a unit: `("Name", "Count", …`.
fn names(source: &str) -> BTreeSet<String> {
    let pairs = source.split("(\"").skip(1).filter_map(|rest| rest.split_once("\", \""));
    let metrics =
        pairs.filter(|(_, unit)| ["Count\"", "Milliseconds\""].iter().any(|known| unit.starts_with(known)));
    metrics.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_metric_of_the_service_is_on_the_dashboard() {
    let deployed = deployed(&[]);
    let widgets = widgets(&deployed);
    let metrics = widgets.iter().flat_map(Widget::metrics);
    let own = metrics.filter(|metric| metric.namespace == metrics::NAMESPACE);
    let mut told: BTreeSet<_> = own.map(|metric| metric.name.to_owned()).collect();
    for (name, reason) in LEFT_OUT {
        assert!(told.insert(name.to_owned()), "{name} is shown, and left out because {reason}");
    }

    let emitted: BTreeSet<_> = emitted(&deployed).into_keys().collect();

    assert_eq!(emitted, told, "left: emitted, right: on the dashboard, or left out here");
}

#[test]
fn the_dashboard_shows_errors_throttles_and_concurrency_of_every_function() {
    let deployed = deployed(&[]);
    let widgets = widgets(&deployed);
    for name in ["Errors", "Throttles", "ConcurrentExecutions"] {
        let metrics = widgets.iter().flat_map(Widget::metrics).filter(|metric| metric.name == name);
        let mut told: BTreeSet<_> =
            metrics.filter_map(|metric| reference(metric.value)).map(|(id, _)| id).collect();
        told.extend(FUNCTIONS_LEFT_OUT.map(|(id, _)| id));
        let there: BTreeSet<_> = deployed.all("AWS::Lambda::Function").into_keys().collect();
        assert_eq!(there, told, "{name}: left: template.yaml, right: its dashboard");
    }
}

/// A line is labelled with the name of its alarm.
#[test]
fn the_lines_across_graphs_are_the_thresholds_of_alarms() {
    let deployed = deployed(&[]);
    let alarms = deployed.all("AWS::CloudWatch::Alarm");
    let mut lines = 0;
    for widget in widgets(&deployed) {
        for line in
            widget.properties.get("annotations").map(|all| list(&all["horizontal"])).unwrap_or_default()
        {
            let label = text(&line["label"]);
            let name = format!("flags-{label}");
            let alarm = alarms.values().find(|alarm| alarm["AlarmName"] == name.as_str());
            let alarm = alarm.unwrap_or_else(|| panic!("{}: there is no alarm {label}", widget.title()));
            assert_eq!(line["value"], alarm["Threshold"], "{label}");
            let of_alarm = alarm.to_string();
            let is_its =
                |metric: &Metric<'_>| of_alarm.contains(&format!(r#""MetricName":"{}""#, metric.name));
            assert!(widget.metrics().iter().any(is_its), "{label} is not about {}", widget.title());
            lines += 1;
        }
    }
    assert!(lines > 3, "{lines} lines");
}

#[test]
fn the_query_on_the_dashboard_is_the_saved_one_for_failures() {
    for deployed in deployments() {
        let groups = deployed.all("AWS::Logs::LogGroup");
        let saved = text(&deployed.properties("FailuresWithTheirReasonsQuery")["QueryString"]);
        let widgets = widgets(&deployed);
        let logs: Vec<_> = widgets.iter().filter(|widget| widget.kind == "log").collect();
        assert_eq!(logs.len(), 1);
        for widget in logs {
            let query = text(&widget.properties["query"]);
            let source = query.strip_prefix("SOURCE '").and_then(|rest| rest.split_once("' | "));
            let (group, query) = source.unwrap_or_else(|| panic!("no log group: {query}"));
            let (id, attribute) = reference(group).unwrap_or_else(|| panic!("{group} is not a resource"));
            assert!(groups.contains_key(id) && attribute.is_empty(), "there is no log group {group}");
            assert_eq!(query, format!("{saved}\n| limit 20"));
        }
    }
}

#[test]
fn the_guide_explains_the_dashboard_from_top_to_bottom_and_its_picture_is_of_this_one() {
    let widgets = widgets(&deployed(&[]));
    let titles: Vec<_> = widgets.iter().map(Widget::title).collect();

    let rows = table("Dashboard");
    let told: Vec<_> = rows.iter().flat_map(|row| row[0].split("; ")).collect();

    assert_eq!(titles, told, "left: template.yaml, right: docs/operations.md");
    let picture = document("docs/operations/dashboard.svg");
    let shown = widgets.iter().flat_map(|widget| {
        let labels = widget.metrics().into_iter().map(|metric| text(&metric.options["label"]).to_owned());
        labels.chain([widget.title().to_owned()]).collect::<Vec<_>>()
    });
    for label in shown {
        let is_there = picture.contains(&format!(">{label}<"));
        assert!(is_there, "the picture lacks {label:?}: draw it again with `make dashboard-picture`");
    }
}
