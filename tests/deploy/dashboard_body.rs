//! The body of the dashboard, as CloudWatch accepts it: its structure, and the place of each widget.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::deployed::{BY_SECRET, Deployed, IN_VPC, deployed};
use super::template::list;
use super::text;

const COLUMNS: u64 = 24;
const MOST_WIDGETS: usize = 500;
const MOST_METRICS: (usize, usize) = (500, 2500);
const MOST_ALARMS: usize = 100;

/// What a widget must have, and what else it may have, of what CloudWatch documents.
const PROPERTIES: [(&str, &[&str], &[&str]); 3] = [
    ("alarm", &["title", "alarms"], &["sortBy", "states"]),
    ("log", &["title", "region", "query", "view"], &[]),
    (
        "metric",
        &["title", "region", "view", "period", "stat", "metrics", "yAxis"],
        &["annotations", "stacked", "start"],
    ),
];

pub struct Widget {
    pub kind: String,
    /// Left, top, right, bottom.
    edges: [u64; 4],
    pub properties: Map<String, Value>,
}

impl Widget {
    fn read(value: &Value) -> Self {
        let keys: Vec<_> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["height", "properties", "type", "width", "x", "y"], "{value}");
        let [x, y, width, height] = ["x", "y", "width", "height"]
            .map(|key| value[key].as_u64().unwrap_or_else(|| panic!("{key} is not a number: {value}")));
        assert!(width > 0 && (1..=1000).contains(&height), "{value}");
        Self {
            kind: text(&value["type"]).to_owned(),
            edges: [x, y, x + width, y + height],
            properties: value["properties"].as_object().expect("a widget has properties").clone(),
        }
    }

    pub fn title(&self) -> &str {
        text(&self.properties["title"])
    }

    fn overlaps(&self, other: &Self) -> bool {
        let ([left, top, right, bottom], [x, y, x_end, y_end]) = (self.edges, other.edges);
        left < x_end && x < right && top < y_end && y < bottom
    }

    pub fn metrics(&self) -> Vec<Metric<'_>> {
        let rows = self.properties.get("metrics").map(list).unwrap_or_default();
        rows.into_iter().map(Metric::read).collect()
    }
}

/// A row of a widget, without the abbreviations that CloudWatch allows.
pub struct Metric<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub dimension: &'a str,
    pub value: &'a str,
    pub options: &'a Map<String, Value>,
}

impl<'a> Metric<'a> {
    fn read(row: &'a Value) -> Self {
        let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
        let [namespace, name, dimension, value, Value::Object(options)] = cells else {
            panic!("not a namespace, a name, a dimension with its value, and options: {row}")
        };
        let [namespace, name, dimension, value] = [namespace, name, dimension, value].map(text);
        Self { namespace, name, dimension, value, options }
    }
}

pub fn deployments() -> Vec<Arc<Deployed>> {
    let topic = ["AlarmActionArns=arn:aws:sns:eu-central-1:123456789012:a"];
    let others: [&[&str]; 6] =
        [&[], &["GatewayTokenCheck=none"], &topic, &BY_SECRET, &IN_VPC, &["ApiReservedConcurrency=off"]];
    others.map(deployed).into()
}

pub fn body(deployed: &Deployed) -> Value {
    let body = text(&deployed.properties("Dashboard")["DashboardBody"]);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("the body is not JSON: {error}"))
}

pub fn widgets(deployed: &Deployed) -> Vec<Widget> {
    list(&body(deployed)["widgets"]).into_iter().map(Widget::read).collect()
}

/// The id in `${Id}` or `${Id.Attribute}`, which only AWS can fill in, and the attribute with its dot.
pub fn reference(value: &str) -> Option<(&str, &str)> {
    let inside = value.strip_prefix("${")?.strip_suffix('}')?;
    Some(inside.split_at(inside.find('.').unwrap_or(inside.len())))
}

#[test]
fn the_dashboard_has_the_documented_structure() {
    for deployed in deployments() {
        assert_eq!(deployed.properties("Dashboard")["DashboardName"], "flags");
        let body = body(&deployed);
        for (key, value) in body.as_object().into_iter().flatten() {
            let is_known = match key.as_str() {
                "start" => text(value).starts_with("-P"),
                "periodOverride" => ["auto", "inherit"].contains(&text(value)),
                "widgets" => value.is_array(),
                _ => false,
            };
            assert!(is_known, "{key}: {value}");
        }
        let widgets = widgets(&deployed);
        assert!((1..=MOST_WIDGETS).contains(&widgets.len()));
        widgets.iter().for_each(structure);
        let metrics: usize = widgets.iter().map(|widget| widget.metrics().len()).sum();
        assert!(metrics <= MOST_METRICS.1, "{metrics} metrics");
    }
}

fn structure(widget: &Widget) {
    let of_kind = PROPERTIES.iter().find(|(kind, ..)| *kind == widget.kind);
    let (_, needed, others) = of_kind.unwrap_or_else(|| panic!("a widget {}", widget.kind));
    let properties = &widget.properties;
    for name in *needed {
        assert!(properties.contains_key(*name), "{properties:?} has no {name}");
    }
    let title = widget.title();
    for (name, value) in properties {
        assert!(needed.contains(&name.as_str()) || others.contains(&name.as_str()), "{title}: {name}");
        let is_good = match name.as_str() {
            "region" => value == "eu-central-1",
            "view" => value == if widget.kind == "log" { "table" } else { "timeSeries" },
            "sortBy" => ["default", "stateUpdatedTimestamp", "timestamp"].contains(&text(value)),
            "alarms" => (1..=MOST_ALARMS).contains(&list(value).len()),
            "metrics" => (1..=MOST_METRICS.0).contains(&list(value).len()),
            "period" => value.as_u64().is_some_and(|period| period > 0 && period % 60 == 0),
            "stat" => is_statistic(text(value)),
            _ => !value.is_null() && value != "",
        };
        assert!(is_good, "{title}: {name} is {value}");
    }
    for metric in widget.metrics() {
        for (name, value) in metric.options {
            let is_good = match name.as_str() {
                "label" => !text(value).is_empty(),
                "color" => text(value).starts_with('#') && text(value).len() == 7,
                "stat" => is_statistic(text(value)),
                "yAxis" => value == "right" && properties["yAxis"].get("right").is_some(),
                _ => false,
            };
            assert!(is_good, "{title}: {}: {name} is {value}", metric.name);
        }
        assert!(metric.options.contains_key("label"), "{title}: {} has no label", metric.name);
    }
}

fn is_statistic(name: &str) -> bool {
    let percentile = name.strip_prefix('p').and_then(|number| number.parse::<f64>().ok());
    percentile.is_some_and(|number| number > 0.0 && number < 100.0)
        || ["Average", "Maximum", "Minimum", "SampleCount", "Sum"].contains(&name)
}

#[test]
fn the_widgets_of_the_dashboard_fit_and_do_not_overlap() {
    let widgets = widgets(&deployed(&[]));
    for (at, widget) in widgets.iter().enumerate() {
        assert!(widget.edges[2] <= COLUMNS, "{} is too wide: {:?}", widget.title(), widget.edges);
        for other in &widgets[..at] {
            assert!(!widget.overlaps(other), "{} covers {}", widget.title(), other.title());
        }
    }
}
